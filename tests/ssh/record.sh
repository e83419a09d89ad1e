#!/bin/bash
# record.sh OUTPUT-FOLDER: records the sessions of tests/ssh anew: three configurations of a real sshd, with real clients
# and hydra, in two network namespaces without a route out and a mount namespace with an account of its own. As root;
# needs openssh-server, sshpass, hydra, tcpdump, ethtool and zstd.
#
#   hard      chacha20, curve25519, one ed25519 key, no PAM: a refusal is immediate
#   hardpam   the same with PAM, which waits two seconds before each refusal
#   def       Debian's settings: three host keys, PAM
set -u
[ "${INSIDE:-}" ] || { INSIDE=yes exec unshare -m "$0" "$(realpath "$1")"; }
OUT=$1
DIR=$(mktemp -d) && chmod 755 "$DIR" && cd "$DIR" || exit 1
for index in $(seq 0 399); do
  set -- summer winter dragon monkey letmein secret master qwerty
  shift $((index % 8)); echo "$1$index"
done > words
C=detc$$ S=dets$$
ip netns add $C; ip netns add $S
ip -n $C link add v0 type veth peer name v1 netns $S
ip -n $C addr add 10.77.0.1/24 dev v0; ip -n $S addr add 10.77.0.2/24 dev v1
for n in $C $S; do ip -n $n link set lo up; done; ip -n $C link set v0 up; ip -n $S link set v1 up
ip netns exec $C ethtool -K v0 tx off tso off gso off gro off >/dev/null 2>&1
ip netns exec $S ethtool -K v1 tx off tso off gso off gro off >/dev/null 2>&1
mount --make-rprivate /
cp /etc/passwd pw; cp /etc/shadow sh; cp /etc/group gr
H=$(openssl passwd -6 rightpw)
echo "guest:x:4777:4777::$DIR/home:/bin/sh" >> pw
echo "guest:$H:19000:0:99999:7:::" >> sh; echo "guest:x:4777:" >> gr; chmod 640 sh
mount --bind pw /etc/passwd; mount --bind sh /etc/shadow; mount --bind gr /etc/group
mkdir -p home /run/sshd; rm -f k_* hk_*; ssh-keygen -qt ed25519 -N '' -f k_ed; ssh-keygen -qt rsa -b 3072 -N '' -f k_rsa
for t in ed25519 rsa ecdsa; do ssh-keygen -qt $t -N '' -f hk_$t; done
cat k_ed.pub k_rsa.pub > home/ak; chown -R 4777:4777 home; chmod 755 $DIR home; chmod 644 home/ak
base="AuthorizedKeysFile $DIR/home/ak
StrictModes no
MaxStartups 100
PidFile none
ListenAddress 10.77.0.2
Port 22
PasswordAuthentication yes
LogLevel ERROR
"
mk() { echo "$base"; cat; }
mk > hard <<X
HostKey $DIR/hk_ed25519
KexAlgorithms curve25519-sha256
Ciphers chacha20-poly1305@openssh.com
UsePAM no
X
mk > hardpam <<X
HostKey $DIR/hk_ed25519
KexAlgorithms curve25519-sha256
Ciphers chacha20-poly1305@openssh.com
UsePAM yes
X
mk > def <<X
HostKey $DIR/hk_rsa
HostKey $DIR/hk_ecdsa
HostKey $DIR/hk_ed25519
UsePAM yes
X
X="ip netns exec $C"
so="-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10"
for conf in hard hardpam def; do
  ip netns exec $S /usr/sbin/sshd -D -f $DIR/$conf & SP=$!
  sleep 1
  cap() { $X tcpdump -qni v0 -s 96 -U -w $conf-$1.pcap tcp 2>/dev/null & TP=$!; sleep 0.7; }
  end() { sleep 0.7; kill $TP; wait $TP 2>/dev/null; }
  cap logins; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do $X ssh $so -i k_ed -o IdentitiesOnly=yes guest@10.77.0.2 true; done
   for i in 1 2 3 4; do $X ssh $so -i k_rsa -o IdentitiesOnly=yes guest@10.77.0.2 true;  $X sshpass -p rightpw ssh $so -o PubkeyAuthentication=no guest@10.77.0.2 true; $X ssh $so -i k_ed -o IdentitiesOnly=yes guest@10.77.0.2 "test -e /tmp/$i$i$i$i$i$i$i$i$i$i$i"; echo ls | $X sftp -q -b - $so -i k_ed guest@10.77.0.2 >/dev/null; done
   for i in 1 2; do $X ssh $so -i k_ed guest@10.77.0.2 sleep 1; done; end
  cap hydra; $X timeout 25 hydra -I -w 2 -l guest -P words ssh://10.77.0.2 >/dev/null 2>&1; end
  cap wrong; for i in 1 2 3 4 5 6 7 8; do $X sshpass -p wrong$i ssh $so -o PubkeyAuthentication=no guest@10.77.0.2 true; done; end
  kill $SP; wait $SP 2>/dev/null
done
ip netns del $C; ip netns del $S
for file in *.pcap; do zstd -19 -q -f "$file" -o "$OUT/$file.zst"; done
rm -r "$DIR"
