#!/usr/bin/env bash
# The firmware: what it finds, what it boots from, what is said when it is not
# there.
. "$(dirname "$0")/lib/tap.sh"

# boot WORDS ARGUMENTS: a VM until its console says WORDS; leaves $out, $err.
boot() {
	local words=$1
	shift
	start "$@"
	eventually grep -q "$words" "$work/start.out"
	end "$pid"
	out=$(tr -d '\r\0' <"$work/start.out")
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

run -v run -d "$work/sector.img" --exit-port 0xf4
like "$out" 'SeaBIOS.*Booting from Hard Disk.*sector one' 'a boot sector runs'
like "$err" 'the firmware is /' 'and which firmware it is, is said'

VMM_BIOS=/usr/share/seabios/bios.bin run -v run -d "$work/sector.img" \
    --exit-port 0xf4
like "$out" 'sector one' 'another image by VMM_BIOS'
like "$err" 'the firmware is /usr/share/seabios/bios.bin' 'is said too'

run -v run -b /usr/share/seabios/bios-256k.bin -d "$work/sector.img" \
    --exit-port 0xf4
like "$out" 'sector one' 'an image by -b'
like "$err" 'bios-256k.bin is a firmware image' 'is taken for what it is'

boot 'No bootable device' run -d "$work/empty.img"
like "$out" 'not a bootable disk.*No bootable device' 'an empty disk is told'

boot 'No bootable device' -vv run -d "$work/empty.img"
like "$err" 'Found QEMU fw_cfg' 'the firmware finds its configuration'
like "$err" 'ACPI: parse DSDT at 0x' 'and places the tables'
like "$err" 'boot order:.*scsi@3' 'and the boot order'

VMM_BIOS=$work/none refused 'no firmware' "$work/none: No such file" \
    run -d "$work/empty.img"
VMM_BIOS=$work/empty.img refused 'a firmware that is none' \
    'empty.img is no firmware image; VMM_BIOS names it' \
    run -d "$work/empty.img"
refused 'a boot device that there is not' 'not disk, cdrom or net' \
    run -B floppy -d "$work/empty.img"

done_testing
