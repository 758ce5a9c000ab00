#!/usr/bin/env bash
# The firmware: what it finds, what it boots from, what is said when it is not
# there.
. "$(dirname "$0")/lib/tap.sh"

# The firmware may move the cursor between any two characters.
run_plain() {
	run "$@"
	# shellcheck disable=SC2001 # a pattern, not a word
	out=$(tr -d '\r' <"$work/out" | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g')
}

# boot WORDS ARGUMENTS: a VM until its console says WORDS; leaves $out, $err.
boot() {
	local words=$1
	shift
	: >"$work/start.out"
	start "$@"
	eventually grep -q "$words" "$work/start.out"
	end "$pid"
	out=$(tr -d '\r\0' <"$work/start.out" |
	    sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g')
	err=$(cat "$work/start.err")
}

truncate -s 4M "$work/empty.img"

# A disk whose first sector says something by the firmware and ends the VM.
python3 - "$work/sector.img" <<'END'
import sys
code = bytes([
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0,	# cli; ax, ds, ss = 0
    0xbc, 0x00, 0x7c, 0xfb,			# sp = 7c00; sti
    0xbe, 0x30, 0x7c,				# si = 7c30
    0xac, 0x84, 0xc0, 0x74, 0x09,		# lodsb; test al, al; jz
    0xb4, 0x0e, 0x31, 0xdb, 0xcd, 0x10,		# int 10h, teletype
    0xeb, 0xf3, 0x90,				# again
    0xf4, 0xf4, 0xf4,				# hlt: it writes late
    0xba, 0xf4, 0x00, 0xee, 0xf4])		# port f4h; hlt
sector = code.ljust(0x30, b"\0") + b"sector one\r\n\0"
sector += bytes(510 - len(sector)) + b"\x55\xaa"
open(sys.argv[1], "wb").write(sector + bytes(1 << 20))
END

run_plain -v run -d "$work/sector.img" --exit-port 0xf4
like "$out" 'SeaBIOS.*Booting from Hard Disk.*sector one' 'a boot sector runs'
like "$err" 'the firmware is /' 'and which firmware it is, is said'

VMM_BIOS=/usr/share/seabios/bios.bin run_plain -v run -d "$work/sector.img" \
    --exit-port 0xf4
like "$out" 'sector one' 'another image by VMM_BIOS'
like "$err" 'the firmware is /usr/share/seabios/bios.bin' 'is said too'

run_plain -v run -b /usr/share/seabios/bios-256k.bin -d "$work/sector.img" \
    --exit-port 0xf4
like "$out" 'sector one' 'an image by -b'
like "$err" 'bios-256k.bin is a firmware image' 'is taken for what it is'

boot 'No bootable device' run -d "$work/empty.img"
like "$out" 'not a bootable disk.*No bootable device' 'an empty disk is told'

boot 'No bootable device' -vv run -d "$work/empty.img"
like "$err" 'Found QEMU fw_cfg' 'the firmware finds its configuration'
like "$err" 'ACPI: parse DSDT at 0x' 'and places the tables'
like "$err" 'boot order:.*scsi@3' 'and the boot order'

# --- GRUB on a disk ------------------------------------------------------------

# grub_disk FILE CONFIGURATION MODULE...: a disk with GRUB and one partition,
# which holds what is in $work/root. Needs no privilege and no loop device: GRUB's
# first part reads on from the second sector, the rest is the file after it.
grub_disk() {
	local file=$1 config=$2
	shift 2
	printf '%s\n' "$config" >"$work/grub.cfg"
	grub-mkimage -O i386-pc -p / -c "$work/grub.cfg" -o "$work/core.img" \
	    biosdisk part_msdos ext2 linux echo normal boot "$@" || return
	[ -e "$work/fs.img" ] ||
	    mke2fs -q -t ext2 -d "$work/root" "$work/fs.img" 40M \
	    >/dev/null 2>&1 || return
	python3 - "$file" /usr/lib/grub/i386-pc/boot.img "$work/core.img" \
	    "$work/fs.img" <<-'END'
	import struct, sys
	boot, core, fs = (open(f, "rb").read() for f in sys.argv[2:])
	assert len(core) < 2047 * 512
	part = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83,
	    b"\xfe\xff\xff", 2048, len(fs) // 512)
	with open(sys.argv[1], "wb") as f:
	    f.write(boot[:446] + part + bytes(48) + b"\x55\xaa" + core)
	    f.seek(2048 * 512)
	    f.write(fs)
	END
}

# The guest's first boot leaves a mark and resets the machine, the second ends
# it: by the firmware and GRUB both times.
mkdir "$work/root"
cp "$VMM_GUEST/vmlinuz" "$VMM_GUEST/initrd.img" "$work/root/"
cat >"$work/root/once" <<'END'
if [ -e /mnt/mark ]; then
	echo "second boot"
	dmesg | grep 'ACPI: RSDP'
	grep virtio0 /proc/interrupts
else
	echo "first boot"
	touch /mnt/mark
	sync
	reboot -f
fi
END
grub_disk "$work/grub.img" 'echo "this is GRUB"
set root=(hd0,msdos1)
linux /vmlinuz console=ttyS0 quiet "vmm.run=mount,/dev/vda1,/mnt;sh,/mnt/once"
initrd /initrd.img
boot'
ok $? 'a disk with GRUB and Linux is made'
limit=120 run_plain -v run -d "$work/grub.img"
is "$status" 0 'it boots, and ends by ACPI'
like "$out" 'this is GRUB.*first boot.*SeaBIOS.*this is GRUB.*second boot' \
    'a reset leads through the firmware again'
like "$out" 'RSDP 0x00000000000F[^$]*VMM.*IO-APIC +[0-9]+-fasteoi' \
    'Linux finds the ACPI tables and the interrupt lines'
like "$err" ': reset' 'there was one reset'
is "$(grep -c ': reset' "$work/err")" 1 'and no other'

# Jumping to the reset vector is how old programs restart a PC.
rm -r "$work/root" "$work/fs.img"
mkdir "$work/root"
echo >"$work/root/file"
grub_disk "$work/reboot.img" 'echo "this is GRUB"
reboot' reboot
resets() {
	[ "$(grep -c ': reset' "$work/start.err")" -ge "$1" ]
}
start -v run -d "$work/reboot.img"
eventually resets 3
ok $? 'a jump to the reset vector resets the machine'
end "$pid"

# --- CD-ROM ----------------------------------------------------------------------

mkdir -p "$work/iso/boot/grub"
echo "a word on the disc" >"$work/iso/word"
printf '%s\n' 'echo "GRUB on the disc"' 'echo "and more"' 'sleep 1' halt \
    >"$work/iso/boot/grub/grub.cfg"
grub-mkrescue -o "$work/cd.iso" "$work/iso" >"$work/log" 2>&1
ok $? 'a CD-ROM with GRUB is made' "$work/log"

run_plain run -r "$work/cd.iso"
like "$out" 'Booting from DVD/CD.*GRUB on the disc' 'it boots'
is "$status" 0 'GRUB ends the machine by ACPI'
run_plain run -d "$work/sector.img" -r "$work/cd.iso" --exit-port 0xf4
like "$out" 'sector one' 'a disk comes first'
run_plain run -d "$work/sector.img" -r "$work/cd.iso" -B cdrom --exit-port 0xf4
like "$out" 'GRUB on the disc' 'the CD-ROM does with -B cdrom'
run_plain run -d "$work/empty.img" -r "$work/cd.iso"
like "$out" 'not a bootable disk.*GRUB on the disc' \
    'and when the disk cannot be booted'

run_plain run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
    -r "$work/cd.iso" --append "console=ttyS0 quiet \
vmm.run=mount,-t,iso9660,/dev/sr0,/mnt;cat,/mnt/word;md5sum,/dev/sr0"
like "$out" 'a word on the disc' 'Linux mounts it'
like "$out" "$(md5sum <"$work/cd.iso" | cut -d' ' -f1)" 'and reads all of it'
refused 'a CD-ROM that is not there' 'none.iso' run -r "$work/none.iso"

# --- what is no firmware -----------------------------------------------------------

VMM_BIOS=$work/none refused 'no firmware' "$work/none: No such file" \
    run -d "$work/empty.img"
VMM_BIOS=$work/empty.img refused 'a firmware that is none' \
    'empty.img is no firmware image; VMM_BIOS names it' \
    run -d "$work/empty.img"
refused 'a boot device that there is not' 'not disk, cdrom or net' \
    run -B floppy -d "$work/empty.img"

done_testing
