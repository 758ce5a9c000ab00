/*
 * The KVM engine as the monitor sees it: struct engine_ops engine_kvm.
 */
#include <errno.h>
#include <stdio.h>

#include "engine/kvm/kvm.h"

static int
kvm_options(const char *text, char *why, size_t whylen)
{
	if (*text == '\0')
		return (0);
	snprintf(why, whylen, "the KVM engine has no option \"%s\"", text);
	return (EINVAL);
}

/* KVM sees guest memory as it is. */
static void
kvm_written(struct engine_vm *vm, uint64_t gpa, size_t size)
{
	(void)vm;
	(void)gpa;
	(void)size;
}

static int64_t
kvm_tsc_offset(struct engine_vcpu *v)
{
	return (v->v_tsc_offset);
}

static void
kvm_report(struct engine_vcpu *v, char *buf, size_t len)
{
	static const char *const names[COUNT_MAX] = {
		[COUNT_IO] = "port accesses", [COUNT_MMIO] = "device accesses",
		[COUNT_MSR] = "MSR accesses", [COUNT_HLT] = "HLT",
		[COUNT_WINDOW] = "interrupt windows", [COUNT_KICK] = "kicks",
		[COUNT_CR8] = "CR8 lowered", [COUNT_FAULT] = "memory faults",
		[COUNT_STEP] = "single steps",
		[COUNT_SETTLE] = "instructions finished early",
	};
	size_t at = 0;
	unsigned n;
	int m;

	buf[0] = '\0';
	for (n = 0; n < COUNT_MAX && at < len; n++) {
		m = snprintf(buf + at, len - at, "%s: %llu\n", names[n],
		    (unsigned long long)v->v_count[n]);
		at += m > 0 ? (size_t)m : 0;
	}
}

const struct engine_ops engine_kvm = {
	.eo_name = "kvm",
	.eo_probe = kvm_probe,
	.eo_options = kvm_options,
	.eo_describe = kvm_describe,
	.eo_vm_new = kvm_vm_new,
	.eo_vm_free = kvm_vm_free,
	.eo_protect = kvm_protect,
	.eo_written = kvm_written,
	.eo_vcpu_new = kvm_vcpu_new,
	.eo_vcpu_free = kvm_vcpu_free,
	.eo_run = kvm_vcpu_run,
	.eo_kick = kvm_kick,
	.eo_ready = kvm_ready,
	.eo_reset = kvm_reset,
	.eo_getregs = kvm_getregs,
	.eo_setregs = kvm_setregs,
	.eo_getxstate = kvm_getxstate,
	.eo_setxstate = kvm_setxstate,
	.eo_getmsr = kvm_getmsr,
	.eo_setmsr = kvm_setmsr,
	.eo_tsc_offset = kvm_tsc_offset,
	.eo_cpl = kvm_cpl,
	.eo_midway = kvm_midway,
	.eo_state = kvm_state,
	.eo_report = kvm_report,
};
