#!/usr/bin/env bash
# Booting from a network: DHCP names a file, TFTP brings it.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

# shellcheck source=lib/vmd.sh
. "$(dirname "$0")/lib/vmd.sh"

export VMM_NETBOOT=/usr/lib/ipxe/qemu/pxe-virtio.rom
plain() {
	# shellcheck disable=SC2001 # a pattern, not a word
	out=$(tr -d '\r\0' <"$work/$1" | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g')
}

# --- a kernel from a folder ----------------------------------------------------

mkdir tftp
cp vmlinuz initrd.img tftp/
cat >tftp/boot.ipxe <<'END'
#!ipxe
kernel vmlinuz console=ttyS0 quiet vmm.run=dmesg
initrd initrd.img
boot
END
limit=200 run -v run -B net --net "user,tftp=$work/tftp,bootfile=boot.ipxe"
is "$status" 0 'a guest that boots from the network ends well'
plain out
like "$out" 'iPXE.*10\.0\.2\.15' 'the ROM gets an address'
like "$out" 'tftp://10\.0\.2\.2/boot\.ipxe\.\.\. ok' 'and the file'
like "$out" 'vmlinuz\.\.\..* ok.*initrd\.img\.\.\.' 'which names others'
like "$out" 'DMI: .*vmm|Command line: .*vmm.run=dmesg' 'Linux is booted'

# --- by vmd ----------------------------------------------------------------------

export VMD_DIR=$work/runtime
cat >vm.conf <<END
vm "diskless" {
	boot device net
	memory 512M
	interface { network user, tftp "tftp", bootfile "boot.ipxe" }
}
END
sed -i 's/ vmm.run=dmesg//' tftp/boot.ipxe
./vmd -v -f vm.conf >log 2>&1
ok $? 'vmd starts a VM of vm.conf' log
eventually has_state diskless running
attach diskless
eventually saw diskless '^guest:'
ok $? 'it boots from its folder, whose path begins where vm.conf is' \
    diskless.out
leave
vmctl start -b vmlinuz --net "user,tftp=/root" hidden >log 2>&1
is $? 1 'a folder that the VM could not read is refused'
like "$(<log)" 'tftp: /root is no folder' 'by name'
vmctl stop -f -w diskless >log 2>&1
ok $? 'and ends' log
end "$(vmd_pid)"
unset VMD_DIR

# --- what is refused ----------------------------------------------------------------

VMM_NETBOOT=$work/none run run -B net
is "$status" 1 'without the ROM the command fails'
like "$err" "$work/none: No such file" 'and names it'
VMM_NETBOOT=$work/vm.conf run run -B net
like "$err" 'vm\.conf is no option ROM' 'another file is refused'
run run -B net --net "user,tftp=$work/nowhere"
like "$err" 'tftp: .*nowhere: No such file' 'a folder that is not there'
run run -B net --net "user,tftp=$work/vm.conf"
like "$err" 'is no folder' 'a file is none'
run run -B net --net "user,bootfile=$(printf '%0128d' 0)"
like "$err" 'at most 127 letters' 'a name that DHCP has no room for'
run run -B net --net "switch=x,tftp=$work"
like "$err" '"tftp" is no option of this network' 'a switch has no TFTP'

done_testing
