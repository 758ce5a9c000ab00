#!/usr/bin/env bash
# Debian's netboot installer to its end, on the serial line and by a preseed: a
# system on an empty disk, all of it fetched through NAT. Then that disk, by its
# GRUB, to a login.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

PATH=$PATH:/usr/sbin:/sbin
suite=trixie
installer=debian-installer-13-netboot-amd64
cache=$VMM_BUILD/installer/$suite

# The host's mirror and proxy, with sources of that suite.
# shellcheck disable=SC2016 # apt's
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' |
    sort -u | head -n 1)
proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
[ -z "$proxy" ] || export http_proxy=$proxy
mkdir -p "$cache" "$work"/apt/{lists,cache}/partial
cat >"$work/apt/sources.list" <<END
deb $mirror $suite main
deb $mirror $suite main/debian-installer
END
cat >"$work/apt/conf" <<END
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/apt/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "root";
END
export APT_CONFIG=$work/apt/conf
within 300 apt-get -q update >"$work/log" 2>&1
ok $? "the mirror has $suite" "$work/log"

if [ ! -e "$cache/initrd.gz" ]; then
	(cd "$cache" && apt-get -q download "$installer" &&
	    dpkg-deb -x "$installer"_*.deb tree &&
	    find tree -path '*/text/*' \( -name linux -o -name initrd.gz \) \
		-exec mv {} . \; && rm -r tree "$installer"_*.deb) \
		>"$work/log" 2>&1
fi
[ -s "$cache/linux" ] && [ -s "$cache/initrd.gz" ]
ok $? "Debian's installer is fetched" "$work/log"

"$(dirname "$0")/installer.d/mirror" "$mirror" "$suite" "$cache/initrd.gz" \
    "$work/port" 2>"$work/mirror.log" &
children+=("$!")
for ((i = 0; i < 300 * VMM_TEST_SLOW; i++)); do
	[ ! -s "$work/port" ] || break
	kill -0 "${children[-1]}" 2>/dev/null || break
	sleep 1
done
[ -s "$work/port" ]
ok $? "a mirror for the guest" "$work/mirror.log"
diag "$(cat "$work/mirror.log")"

server=${mirror#http://}
folder=${server#*/}
server=${server%%/*}
# What the mirror lacks is not Debian's own and has no signature.
unsigned=false
[ ! -s "$work/mirror.log" ] || unsigned=true
cat >"$work/preseed.cfg" <<END
d-i debian-installer/locale string en_US.UTF-8
d-i debian-installer/allow_unauthenticated boolean $unsigned
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
d-i netcfg/get_hostname string installed
d-i netcfg/get_domain string
d-i mirror/country string manual
d-i mirror/http/hostname string $server
d-i mirror/http/directory string /${folder%/}
d-i mirror/http/proxy string http://10.0.2.2:$(cat "$work/port")
d-i passwd/root-password password guest
d-i passwd/root-password-again password guest
d-i passwd/make-user boolean false
d-i clock-setup/ntp boolean false
d-i time/zone string UTC
d-i partman-auto/disk string /dev/vda
d-i partman-auto/method string regular
d-i partman-auto/choose_recipe select atomic
d-i partman-partitioning/confirm_write_new_label boolean true
d-i partman/choose_partition select finish
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
d-i base-installer/install-recommends boolean false
d-i apt-setup/services-select multiselect
d-i apt-setup/cdrom/set-first boolean false
d-i apt-setup/enable-source-repositories boolean false
tasksel tasksel/first multiselect
d-i pkgsel/upgrade select none
d-i pkgsel/update-policy select none
popularity-contest popularity-contest/participate boolean false
d-i grub-installer/only_debian boolean true
d-i grub-installer/with_other_os boolean false
d-i grub-installer/bootdev string /dev/vda
d-i finish-install/reboot_in_progress note
d-i debian-installer/exit/poweroff boolean true
END
(cd "$work" && echo preseed.cfg | cpio -o -H newc --quiet | gzip |
    cat "$cache/initrd.gz" - >initrd.gz)
"$vmctl" create -s 4G "$work/disk.qcow2" 2>"$work/log"
ok $? "an empty disk is made" "$work/log"
# shellcheck disable=SC2034 # of run
limit=4800
run run -m 1G -b "$cache/linux" --initrd "$work/initrd.gz" -d \
    "$work/disk.qcow2" --append \
    "auto=true priority=critical console=ttyS0 DEBIAN_FRONTEND=text --- console=ttyS0"
is "$status" 0 "the installer ends and powers off"
grep -q 'Requesting system poweroff' "$work/out"
ok $? "by itself"
[ "$status" = 0 ] || diag "$(tail -c 2000 "$work/out" | cat -v)" "$err"
qemu-img check -q "$work/disk.qcow2" >"$work/log" 2>&1
ok $? "the image is whole" "$work/log"

# says WORDS SECONDS: waits until the console says WORDS; type TEXT: a line.
says() {
	local i
	for ((i = 0; i < $2 * VMM_TEST_SLOW; i++)); do
		grep -aq -- "$1" "$work/boot.out" && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 1
	done
	diag "$(tail -c 1000 "$work/boot.out" | cat -v)"
	return 1
}

type() {
	printf '%s\r' "$1" >&3
}

mkfifo "$work/in"
exec 3<>"$work/in"
"$vmctl" run -m 1G -d "$work/disk.qcow2" <"$work/in" >"$work/boot.out" \
    2>"$work/boot.err" &
pid=$!
children+=("$pid")
says 'GNU GRUB' 120
ok $? "the firmware boots its GRUB"
says 'installed login: ' 300
ok $? "and that Debian, which asks who is there"
type root
says 'Password: ' 60
type guest
says 'root@installed:' 120
ok $? "root logs in"
# shellcheck disable=SC2016 # for the guest
type 'echo "is=$(systemctl is-system-running --wait)="'
says 'is=running=' 120
ok $? "the system is complete"
# shellcheck disable=SC2016 # for the guest
type 'apt-get -q update; echo "update=$?="'
says 'update=0=' 300
ok $? "and reaches its mirror"
type poweroff
finish "$pid"
is $? 0 "it powers off"
qemu-img check -q "$work/disk.qcow2" >"$work/log" 2>&1
ok $? "the image is whole" "$work/log"

done_testing
