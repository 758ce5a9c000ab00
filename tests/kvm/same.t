#!/usr/bin/env bash
# The machine is the same on KVM as on the software engine: what Linux prints
# of its CPU, its memory, its devices and their interrupts, and all that the
# kernel says while it boots. The software engine runs on this host, which has
# another CPU than the bed: what is of the CPU's model and speed is cut.
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

# Lines of the kernel that a CPU's model or speed makes, and what the emulated
# SVM lacks: it does not intercept XSETBV, so that Linux finds the size of
# XSAVE's area wrong, which it tells at length.
cpu='MHz processor|BogoMIPS|clocksource: tsc|iTLB|dTLB|idle routine|x86/fpu'
cpu+='|Spectre|RETBleed|Speculative|TAA:|MMIO Stale|smpboot: CPU0|sigframe'
cpu+='|extended access|_OSC: OS supports|MMCONFIG|x86/cpu|Kernel supports'
cpu+='|CPUID\[|------|---\[|XSAVE|fpu__init|fpu/xstate|Modules linked|^CPU: '
cpu+='|^(RIP|Code|R[A-Z0-9]+|FS|CS|CR2):|Call Trace|</?TASK>'
cpu+='|^ \?? ?[a-z_0-9]+\+0x|Performance Events|PMU driver|^\.\.\. |PAT|raid6'
cpu+='|perf'

# of_machine PART: what the machine and not its CPU makes of it. What threads
# of the kernel say comes in any order.
of_machine() {
	case $1 in
	cpuinfo)
		grep -E '^(processor|physical id|siblings|core id|cpu cores|apicid|fpu|wp|cache_al)' ;;
	dmesg)	grep -Ev "$cpu" | sort ;;
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
	boot soft || {
		echo "Bail out! no boot on the software engine: $err"
		exit 1
	}
	bed_programs+=(diff)
	enter_bed -m 640 -e "soft=$work/soft" -e "disk=$disk" -f "$work/soft" \
	    -f "$disk" -f "$VMM_GUEST/vmlinuz" -f "$VMM_GUEST/initrd.img"
fi

# shellcheck disable=SC2154 # they are in the bed's environment
[ -s "$soft" ] && [ -s "$disk" ]
ok $? "what the software engine's guest showed is here"
boot "$engine"
ok $? "a boot on $engine" "$work/err"
for part in "${parts[@]}"; do
	awk -v "part=$part" '/^== / { show = $2 == part } show' \
	    "$soft" | of_machine "$part" >"$work/want"
	awk -v "part=$part" '/^== / { show = $2 == part } show' \
	    "$work/$engine" | of_machine "$part" >"$work/got"
	diff "$work/want" "$work/got" >"$work/difference"
	same=$?
	[ $same = 0 ] && [ "$(wc -l <"$work/want")" -gt 2 ]
	ok $? "$part" "$work/difference"
done
done_testing
