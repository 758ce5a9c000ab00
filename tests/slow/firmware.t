#!/usr/bin/env bash
# What people boot by firmware: Debian's installer and memtest86+, each from a
# CD-ROM with GRUB, on the serial line.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

installer=debian-installer-12-netboot-amd64
cache=$VMM_BUILD/installer

# says WORDS SECONDS: waits until the console says WORDS.
says() {
	local i
	for ((i = 0; i < $2 * VMM_TEST_SLOW; i++)); do
		grep -aq "$1" "$work/start.out" && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 1
	done
	diag "$(tail -c 1000 "$work/start.out" | cat -v)"
	return 1
}

# disc FILE CONFIGURATION FILE...: a CD-ROM on which GRUB does that.
disc() {
	rm -rf "$work/iso"
	mkdir -p "$work/iso/boot/grub"
	cp "${@:3}" "$work/iso/"
	printf '%s\n' "$2" >"$work/iso/boot/grub/grub.cfg"
	grub-mkrescue -o "$1" "$work/iso" >"$work/log" 2>&1
}

disc "$work/memtest.iso" 'linux /memtest86+x64.bin console=ttyS0,115200
boot' /boot/memtest86+x64.bin
ok $? 'a disc with memtest86+ is made' "$work/log"
start run -m 16M -r "$work/memtest.iso"
says 'Pass:  1' 900
ok $? 'memtest86+ tests all of the memory'
like "$(grep -ao 'Errors: [0-9]*' "$work/start.out" | sort -u)" \
    '^Errors: 0$' 'and finds no errors'
end "$pid"

if [ ! -e "$cache/initrd.gz" ]; then
	mkdir -p "$cache"
	(cd "$cache" && apt-get download "$installer" &&
	    dpkg-deb -x "$installer"_*.deb tree &&
	    find tree -path '*/text/*' \( -name linux -o -name initrd.gz \) \
		-exec mv {} . \; && rm -r tree) >"$work/log" 2>&1
fi
[ -s "$cache/linux" ] && [ -s "$cache/initrd.gz" ]
ok $? "Debian's installer is fetched" "$work/log"
disc "$work/installer.iso" 'linux /linux console=ttyS0 --- quiet
initrd /initrd.gz
boot' "$cache/linux" "$cache/initrd.gz"
ok $? 'a disc with it is made' "$work/log"
truncate -s 1G "$work/disk.img"
start run -m 1G -r "$work/installer.iso" -d "$work/disk.img"
says 'Select a language' 600
ok $? 'it asks for the language'
end "$pid"

done_testing
