#!/usr/bin/env bash
# Local interfaces, through a user's vmd, in a network of this test's own: the
# guest has the address that vmd says, reaches the host side and what listens
# there, and asks the name servers that DHCP tells it of: the host side first,
# then the one that the host itself asks.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
[ -n "${LOCAL_TEST_INSIDE-}" ] || {
	for tool in unshare setpriv busybox perl; do
		command -v "$tool" >/dev/null || {
			skip "local interfaces" "no $tool"
			done_testing
		}
	done
	why=$(unshare -nm true 2>&1) || {
		skip "local interfaces" "no network of our own: $why"
		done_testing
	}
	rm -rf "$work"
	LOCAL_TEST_INSIDE=yes exec unshare -nm "$0" "$@"
}
# shellcheck source=lib/vmd.sh
. "$(dirname "$0")/lib/vmd.sh"

# --- the host: its loopback, name servers -----------------------------------------
busybox ip link set lo up
echo "nameserver 127.0.0.5" >resolv.conf
mount --bind resolv.conf /etc/resolv.conf

# dns ADDRESS ANSWER: answers all questions for addresses with this one, and
# others with nothing; what was asked goes to ADDRESS.log.
dns() {
	perl -MSocket -e '
		my ($at, $answer) = @ARGV;
		socket(S, PF_INET, SOCK_DGRAM, 0) or die "$!\n";
		bind(S, sockaddr_in(53, inet_aton($at))) or die "$!\n";
		$| = 1;
		print "listens\n";
		while (defined(my $from = recv(S, my $q, 512, 0))) {
			my ($id) = unpack "n", $q;
			my ($name) = unpack "x12 Z*", $q;
			my $end = 12 + length($name) + 5;
			my $type = unpack "n", substr $q, $end - 4, 2;
			my $n = $type == 1 ? 1 : 0;
			my $a = pack("n6", $id, 0x8180, 1, $n, 0, 0) .
			    substr $q, 12, $end - 12;
			$a .= pack "n3Nna4", 0xc00c, 1, 1, 60, 4,
			    inet_aton($answer) if $n;
			print "asked $type\n";
			send S, $a, 0, $from;
		}' "$1" "$2" >"$1.log" 2>&1 &
	children+=("$!")
	eventually grep -q listens "$1.log"
}

cat >vm.conf <<END
vm "one" {
	memory 128M
	boot "vmlinuz"
	initrd "initrd.img"
	append "console=ttyS0 quiet"
	local interface
	local interface
}
END

# An ordinary user's.
mkdir user
chown 65534:65534 user
as=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all
    --no-new-privs env "HOME=$work/user")
export VMD_DIR=$work/user/run

dns 127.0.0.5 192.0.2.5
"${as[@]}" timeout 30 "$work/vmd" -v -f vm.conf >log 2>&1
ok $? "vmd starts" log
eventually has_state one running
ok $? "so does the VM"
is "$(json one address)" 100.64.1.3 "vmd says its address"
is "$(json one host)" 100.64.1.2 "and the host's"
attach one
eventually saw one '^guest:'
ok $? "it boots to a shell" one.out
: >one.out
guest one "ip -4 -o addr show eth0" "100.64.1.3/31" \
    "it has that address"
guest one "ip route" "default via 100.64.1.2 dev eth0" \
    "its router is the host"
guest one "xargs </etc/resolv.conf" \
    "nameserver 100.64.1.2 nameserver 100.64.1.1" \
    "the host is its first name server"
guest one "ping -c 1 -q 100.64.1.2" " 0% packet loss" \
    "the host answers"
echo "from the host" >page
(cd "$work" && exec busybox httpd -f -p 127.0.0.1:8080) &
children+=("$!")
server=$!
guest one "wget -q -O - http://100.64.1.2:8080/page" "from the host" \
    "what listens on its loopback, too"
end "$server"
# nobody listens for questions at the host's loopback
guest one "nslookup -type=a name.example" "192.0.2.5" \
    "the host's name server is asked"
dns 127.0.0.1 192.0.2.1
: >127.0.0.5.log
guest one "nslookup -type=a name.example 100.64.1.2" "192.0.2.1" \
    "one that listens there answers as well"
is "$(cat 127.0.0.5.log)" "" "by itself"

guest one "ip link set eth0 down; ip link set eth1 up; \
udhcpc -i eth1 -f -q -n -s /etc/udhcpc; ip -4 -o addr show eth1" \
    "100.64.1.5/31" "the second one has the next address"
guest one "ping -c 1 -q 100.64.1.4" " 0% packet loss" \
    "and its own host side"
leave
kill "$(vmd_pid)"
eventually is_left 0
ok $? "vmd stops it and ends"
done_testing
