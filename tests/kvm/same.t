#!/usr/bin/env bash
# The machine is the same on KVM as on the software engine, both on the same
# host: what Linux prints of its CPU, its memory, its devices and their
# interrupts, and all that the kernel says while it boots.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

limit=300
parts=(pci cpuinfo memory interrupts clocks dmesg)

# Cuts what differs from boot to boot on one engine as well: counts, times,
# and addresses of kernel code, which KASLR moves.
constant() {
	local number='[0-9]+' time='[0-9]+\.[0-9]+'
	sed -E -e "/^ *([A-Z]+|$number):/s/ +$number / /" \
	    -e "s/^\[ *$time\] //" -e '/Kernel (code|data|rodata|bss)$/d' \
	    -e '/random: crng init/d' -e '/link becomes ready/d' \
	    -e '/sched_clock: Marking stable/s/\(.*//' \
	    -e '/setting system clock to/s/ to .*//' \
	    -e '/sched offset of/s/[0-9]+ cycles//' \
	    -e '/audit\(/s/\(.*\)//' \
	    -e "/(initcall|took|after) .*$number (us|ms|usecs|msecs)/s/$number//g"
}

# What the emulated SVM makes of a boot: it does not intercept XSETBV, so that
# Linux finds the size of XSAVE's area wrong, which it tells at length. And it
# has no automatic IBRS, so that Linux has to work round Spectre.
xsave='------|---\[|XSAVE|x86/fpu|fpu/xstate|fpu__init|CPUID\[|Modules linked'
xsave+='|^CPU: |^(RIP|RSP|Code|R[A-Z0-9]+|FS|CS|CR2):|Call Trace|</?TASK>'
xsave+='|^ \?? ?[a-z_0-9]+\+0x|^Hardware name|Tainted|sigframe|^Spectre V2 :'

# A feature that only the software engine's guest has must be one that the bed's
# CPU has not, which KVM cannot offer then; or one of XSAVE's, which Linux
# switches off for the reason above.
needs_xsave=' xsave avx f16c avx2 fma xsaveopt xsavec xgetbv1 '

# flags FILE: a line each.
flags() {
	sed -n 's/^flags[^:]*: //p' "$1" | tr ' ' '\n'
}

# unexplained ENGINE: features that one of the two has for no such reason.
unexplained() {
	local flag
	for flag in $(flags "$work/$1"); do
		flags "$work/soft" | grep -qx "$flag" || echo "+$flag"
	done
	for flag in $(flags "$work/soft"); do
		if ! flags "$work/$1" | grep -qx "$flag" &&
		    flags /proc/cpuinfo | grep -qx "$flag" &&
		    [[ $needs_xsave != *" $flag "* ]]; then
			echo "-$flag"
		fi
	done
}

# of_machine PART: less that. What threads of the kernel say comes in any order.
of_machine() {
	case $1 in
	cpuinfo) grep -Ev '^(cpu MHz|bogomips|flags|bugs)' ;;
	dmesg)	grep -Ev -e "$xsave" | sort ;;
	*)	cat ;;
	esac
}

# boot ENGINE: what the guest shows goes to a file of the engine's name.
boot() {
	run run --engine "$1" -m 192M -b "$VMM_GUEST/vmlinuz" \
	    --initrd "$VMM_GUEST/initrd.img" -d "$disk" \
	    --append "console=ttyS0 quiet vmm.run=sh,/mnt/show"
	constant <<<"$out" >"$work/$1"
	[ "$status" = 0 ]
}

if [ -z "${VMM_BED-}" ]; then
	why=$(bed_lacks)
	[ -z "$why" ] || no_bed "$why"
	mkdir "$work/disk"
	cat >"$work/disk/show" <<'END'
cd /sys/bus/pci/devices
echo == pci
for d in *
do
	echo $d $(cat $d/class $d/vendor $d/device $d/subsystem_vendor $d/irq)
done
echo == cpuinfo
cat /proc/cpuinfo
echo == memory
cat /proc/iomem /proc/ioports
echo == interrupts
cat /proc/interrupts
cd /sys/devices/system/clocksource/clocksource0
echo == clocks
cat available_clocksource current_clocksource
echo == dmesg
dmesg
echo == end
END
	disk=$work/disk.img
	truncate -s 4M "$disk"
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -t ext4 -d "$work/disk" "$disk"
	bed_programs+=(diff)
	enter_bed -t 240 -m 640 -e "disk=$disk" -f "$disk" \
	    -f "$VMM_GUEST/vmlinuz" -f "$VMM_GUEST/initrd.img"
fi

# shellcheck disable=SC2154 # it is in the bed's environment
[ -s "$disk" ]
ok $? "what the guests run is here"
boot soft
ok $? "a boot on the software engine" "$work/err"
boot "$engine"
ok $? "a boot on $engine" "$work/err"
for part in "${parts[@]}"; do
	for one in soft "$engine"; do
		awk -v "part=$part" '/^== / { show = $2 == part } show' \
		    "$work/$one" | of_machine "$part" >"$work/$one.$part"
	done
	diff "$work/soft.$part" "$work/$engine.$part" >"$work/difference"
	same=$?
	[ $same = 0 ] && [ "$(wc -l <"$work/soft.$part")" -gt 2 ]
	ok $? "$part" "$work/difference"
done
is "$(unexplained "$engine")" "" "a CPU with the same features"
done_testing
