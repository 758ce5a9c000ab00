#!/usr/bin/env bash
# vmm and QEMU, both on KVM, side by side: the time from the start of the
# process to the first line of the guest's init, and what memory the monitor
# holds beside the guest's, at most in all rounds. Time is that of the bed, by
# instructions. QEMU's microvm is shown, not compared: it has no PCI bus for
# Linux to look at.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

ROUNDS=2
MEMORY=192
bed_programs+=(qemu-system-x86_64)
files=()
for file in /usr/share/seabios/bios{,-256k,-microvm}.bin \
    /usr/share/qemu/{linuxboot,linuxboot_dma,kvmvapic,pvh}.bin \
    /usr/share/qemu/{qboot.rom,bios-microvm.bin}; do
	[ ! -e "$file" ] || files+=(-f "$file")
done
enter_bed -t 300 -m 768 -f "$VMM_GUEST/vmlinuz" -f "$VMM_GUEST/initrd.img" \
    "${files[@]}"
with_engine
cd "$work" || exit 1

append="console=ttyS0 quiet panic=-1 rdinit=/bin/busybox -- sh -c"
append+=' "echo first line; read x"'
kernel=(-kernel "$VMM_GUEST/vmlinuz" -initrd "$VMM_GUEST/initrd.img")
qemu=(qemu-system-x86_64 -accel kvm -cpu host -smp 1 -m "$MEMORY" -nodefaults
    -no-user-config -display none -no-reboot -serial stdio "${kernel[@]}"
    -append "$append")

vmm() {
	exec "$vmctl" run -m "${MEMORY}M" -b "$VMM_GUEST/vmlinuz" \
	    --initrd "$VMM_GUEST/initrd.img" --net none --append "$append"
}
# shellcheck disable=SC2317,SC2329 # called by their names
pc() {
	exec "${qemu[@]}" -M pc
}
# shellcheck disable=SC2317,SC2329
microvm() {
	exec "${qemu[@]}" -M microvm,isa-serial=on,rtc=on
}

# beside PID: KiB that are resident, but for the mappings of the guest's size.
beside() {
	awk -v "ram=$((MEMORY * 1024))" '/^Size:/ { size = $2 }
	    /^Rss:/ && size < ram / 2 { sum += $2 } END { print sum + 0 }' \
	    "/proc/$1/smaps"
}

# huge PID: how many private mappings could hold a huge page, if it were
# aligned, but for the guest's memory and the heap.
huge() {
	awk -v "ram=$((MEMORY * 1024))" '
	    /^[0-9a-f]+-/ { private = $2 ~ /^rw.p/ && $6 == "" }
	    /^Size:/ && private && $2 >= 2048 && $2 < ram / 2 { n++ }
	    END { print n + 0 }' "/proc/$1/smaps"
}

# first_line NAME: starts it; leaves $ms, $kib and $huge, 0 if it does not come
# up.
first_line() {
	local line from=$EPOCHREALTIME to
	ms=0
	kib=0
	huge=0
	mkfifo console
	"$1" <keys >console 2>>errors &
	pid=$!
	children+=("$pid")
	while IFS= read -r -t 100 line; do
		to=$EPOCHREALTIME
		[[ $line != *first\ line* ]] || {
			ms=$(((${to/./} - ${from/./}) / 1000))
			kib=$(beside "$pid")
			huge=$(huge "$pid")
			break
		}
	done <console
	end "$pid"
	rm console
}

mkfifo keys
exec 3<>keys
declare -A best=([vmm]=0 [pc]=0 [microvm]=0) held=() large=()
for ((round = 0; round < ROUNDS; round++)); do
	for name in vmm pc microvm; do
		first_line $name
		diag "$name: $ms ms, $kib KiB"
		[ "$kib" -le "${held[$name]-0}" ] || held[$name]=$kib
		[ "$huge" -le "${large[$name]-0}" ] || large[$name]=$huge
		[ "$ms" = 0 ] || [ "${best[$name]}" != 0 ] &&
		    [ "${best[$name]}" -le "$ms" ] || best[$name]=$ms
	done
done
[ "${best[vmm]}" != 0 ]
ok $? "vmm shows init's first line" errors
[ "${best[pc]}" != 0 ]
ok $? "QEMU does" errors
[ "${best[vmm]}" -lt "${best[pc]}" ]
ok $? "vmm after ${best[vmm]} ms, QEMU after ${best[pc]} ms"
[ "${held[vmm]}" -gt 0 ] && [ "${held[vmm]}" -lt 5120 ]
ok $? "vmm holds ${held[vmm]} KiB beside the guest's memory"
is "${large[vmm]-0}" 0 "and has nothing that becomes a huge page by chance"
done_testing
