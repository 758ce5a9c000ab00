#!/usr/bin/env bash
# Every way that Linux knows to reboot a PC makes it boot again; a machine that
# has crashed does, too. Each boot does the next of the list on its disk.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux_guest

# What reboot= may say of a PC without EFI, in sysfs' words (Linux,
# admin-guide/kernel-parameters.txt), warm where the way knows that; then what
# is no orderly reboot.
ways=(acpi kbd kbd-warm bios bios-warm pci triple
    default panic sysrq)

cat >step <<'END'
next=$(($(cat /mnt/next) + 1))
way=$(sed -n "${next}p" /mnt/ways)
echo "way: ${way:-end}"
echo "$next" >/mnt/next
sync
case $way in
"")	poweroff -f ;;
default)
	reboot -f ;;
panic)	echo 1 >/proc/sys/kernel/panic
	echo c >/proc/sysrq-trigger ;;
sysrq)	echo b >/proc/sysrq-trigger ;;
*)	case $way in
	*-warm)	echo warm >/sys/kernel/reboot/mode ;;
	*)	echo cold >/sys/kernel/reboot/mode ;;
	esac
	echo "${way%-warm}" >/sys/kernel/reboot/type || echo "way: unknown"
	reboot -f ;;
esac
sleep 1000
END
printf '%s\n' "${ways[@]}" >ways
echo 0 >next

# new_disk: an image with the list and where it has got.
new_disk() {
	rm -f disk.img
	truncate -s 8M disk.img
	mke2fs -q -F -t ext4 disk.img
	for file in step ways next; do
		echo "write $file $file"
	done | debugfs -w disk.img >/dev/null 2>&1
}

limit=300
append="console=ttyS0 quiet vmm.run=sh,/mnt/step"

# --- vmctl run: in the same process ------------------------------------------
new_disk
run run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" -d disk.img \
    -m 256M --net none --timeout $((240 * VMM_TEST_SLOW)) --append "$append"
is "$status" 0 "the list is gone through, then the power is off"
got=$(tr -d '\r' <<<"$out" | sed -n 's/^way: //p' | tr '\n' ' ')
for n in "${!ways[@]}"; do
	# it did not stop there: the next boot came
	like "$got" "(^| )${ways[n]} ${ways[n + 1]-end} " \
	    "vmctl run: ${ways[n]} boots again"
done
is "$(grep -c . <<<"${got// /$'\n'}")" $((${#ways[@]} + 1)) "each once"
done_testing
