# What is left to do when a test has no more use for its Docker Engine, or has
# died: janitor.sh DIRECTORY [BRIDGE]. It waits for the end of its standard input,
# whose other end the test holds.
dir=$1 bridge=$2

cat >/dev/null

# pids lists the processes that run a program on the engine's directory.
pids() { pgrep -f "^[^ ]*$1 .*$dir/"; }

# stop asks a program to end, and makes it after 30 s.
stop() {
    for pid in $(pids "$1"); do kill -TERM "$pid"; kill -CONT "$pid"; done 2>/dev/null
    for _ in $(seq 300); do
        pids "$1" >/dev/null || return 0
        sleep 0.1
    done
    for pid in $(pids "$1"); do kill -KILL "$pid"; done 2>/dev/null
}

stop dockerd
stop containerd
# Containers outlive both. A shim that is killed first would leave its container
# to the machine.
for shim in $(pids 'containerd-shim[^ ]*'); do
    pkill -KILL -P "$shim"
    kill -KILL "$shim"
done 2>/dev/null

# The last one first: they lie in one another.
awk -v below="$dir/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r mount; do
    umount -l "$mount"
done
[ -n "$bridge" ] && ip link show "$bridge" >/dev/null 2>&1 && ip link delete "$bridge"
rm -rf --one-file-system "$dir"
