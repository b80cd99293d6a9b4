# The image of rackdns: one static binary and a directory for its data. It has
# no shell, no certificates and no passwd, because nothing in it needs them.
# `make image` builds it and needs no network.
#
# A whole rack on one host:
#
#   docker run -d --name rackdns --restart unless-stopped \
#     -p 10.0.2.10:53:53/udp -p 10.0.2.10:53:53/tcp \
#     -v /run:/var/run:ro --group-add "$(stat -c %g /run/docker.sock)" \
#     -v rackdns:/data \
#     -e RACKDNS_NODE=node-1 -e RACKDNS_HOST_ADDRESS=10.0.2.10 \
#     rackdns
#
# - Mount the *directory* of Docker's socket, as above, not the socket: when the
#   daemon restarts it makes a new socket, and a mounted file would stay the old
#   one for ever.
# - The process is not root, so the group that owns the socket has to be added.
# - RACKDNS_HOST_ADDRESS is the address by which others reach this host, and thus
#   the published ports of its containers: from inside, a container can't tell.
#   Without it only this host and its containers are served, by its address on the
#   Docker network that rackdns is on.
#   RACKDNS_NODE names the host, else each new container would be another node.
#   Every flag has such a variable.
# - The names of the rack are told to everybody who can reach port 53. Other names
#   are looked up for the networks that this container is on, and so for all
#   containers of the host, but for nobody else, else it would be an open resolver.
#   For clients of a LAN list it: RACKDNS_ALLOW_RECURSION=localnets,10.0.2.0/24.
# - With --pid host, names go with the process of their container, some
#   milliseconds before the daemon tells, and also while the daemon is down.
# - The registry is /data/etcd.sock: `docker exec rackdns /rackdns services` reads it,
#   as does whoever else has the volume, with all its credentials. It runs as a
#   process of its own, the same binary again by way of /proc/self/exe.
# - A named volume takes over the owner of /data below; a directory of the host
#   mounted there must be writable by user 65532.

FROM scratch

COPY bin/rackdns /rackdns
# Brings data/, which `make image` prepares empty.
COPY --chown=65532:65532 build/image/ /

USER 65532:65532
EXPOSE 53/udp 53/tcp

# Docker lets any user of a container's own network bind port 53. With --network
# host it doesn't: choose another port there.
ENTRYPOINT ["/rackdns"]
ENV RACKDNS_DATA=/data
CMD ["standalone", "--dns", "0.0.0.0:53"]
