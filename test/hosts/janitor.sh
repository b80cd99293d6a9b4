# What is left to do when a test has no more use for its lab, or has died:
# janitor.sh DIRECTORY PREFIX. It waits for the end of its standard input, whose
# other end the test holds. The engines have janitors of their own.
dir=$1 prefix=$2

cat >/dev/null

for pid in $(pgrep -f "^[^ ]*dnsmasq .*$dir/|^$dir/"); do kill -KILL "$pid"; done 2>/dev/null
# What still lives in a namespace keeps it, nameless, until its own end.
for netns in /run/netns/"$prefix"-*; do
    [ -e "$netns" ] && ip netns delete "${netns##*/}"
done
rm -rf --one-file-system "$dir"
