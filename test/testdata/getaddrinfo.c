/* Looks up names by the C library and prints a line for each: the name and its
 * addresses, in order. An argument is NAME or NAME=ADDRESSES, which is looked
 * up until it has these addresses, or time is up. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* lookup writes the addresses of a name, or what is wrong, to text. */
static void lookup(const char *name, char *text, size_t size) {
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found, *a;
	char one[64][INET6_ADDRSTRLEN], *all[64];
	int count = 0, err = getaddrinfo(name, NULL, &hints, &found);
	text[0] = 0;
	if (err != 0) {
		snprintf(text, size, "%s", gai_strerror(err));
		return;
	}
	for (a = found; a != NULL && count < 64; a = a->ai_next) {
		void *addr = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
		                                     : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
		if (inet_ntop(a->ai_family, addr, one[count], sizeof one[count]) != NULL) {
			all[count] = one[count];
			count++;
		}
	}
	freeaddrinfo(found);
	qsort(all, count, sizeof *all, compare);
	for (int i = 0; i < count; i++) {
		size_t len = strlen(text);
		snprintf(text + len, size - len, "%s%s", i > 0 ? " " : "", all[i]);
	}
}

int main(int argc, char **argv) {
	const struct timespec moment = {0, 50 * 1000 * 1000};
	time_t end = time(NULL) + 20;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int n = 1; n < argc; n++) {
		char *want = strchr(argv[n], '='), text[4096];
		if (want != NULL)
			*want++ = 0;
		for (lookup(argv[n], text, sizeof text); want != NULL && strcmp(text, want) != 0 && time(NULL) < end;
		     lookup(argv[n], text, sizeof text))
			nanosleep(&moment, NULL);
		printf("%s %s\n", argv[n], text);
	}
	return 0;
}
