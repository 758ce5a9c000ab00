/*
 * The KVM engine on a KVM of the test's own: registers both ways, exits in
 * pieces, kicks, and every call of the host failing in turn.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/bare.h"
#include "engine/kvm/kvm.h"
#include "fake.h"

#define MEMORY	0x10000u
#define CODE	0x1000u
#define DEVICE	0x200000u
#define DATA	0x2000u		/* of v_run, where ports' data is */

static const struct engine_ops *const ops = &engine_kvm;
static uint8_t *mem;
static struct engine_vm *vm;
static struct engine_vcpu *vcpu;
static struct bare bare;

/* 0 or the first error. */
static int
begin(void)
{
	struct engine_range range = { .er_size = MEMORY, .er_host = mem };
	struct engine_vm_config config = { .ev_ranges = &range,
	    .ev_nranges = 1, .ev_tsc_khz = 1000000, .ev_options = "" };
	struct vcpu_reg_state r;
	int error;

	memset(&r, 0, sizeof(r));
	memset(&bare, 0, sizeof(bare));
	vm = NULL;
	vcpu = NULL;
	bare_flat(mem, &r);
	r.vrs_gprs[VCPU_REGS_RIP] = CODE;
	r.vrs_gprs[VCPU_REGS_RFLAGS] = 0x202;
	if ((error = ops->eo_vm_new(&config, &vm)) != 0)
		return (error);
	error = ops->eo_vcpu_new(vm, 0, &bare_host, &bare, &vcpu);
	return (error != 0 ? error : ops->eo_reset(vcpu, &r));
}

static void
end(void)
{
	if (vcpu != NULL)
		ops->eo_vcpu_free(vcpu);
	if (vm != NULL)
		ops->eo_vm_free(vm);
	assert_int_equal(fake.f_fds, 0);
	assert_int_equal(fake.f_maps, 0);
}

static int
setup(void **state)
{
	(void)state;
	fake_reset();
	memset(mem, 0, MEMORY);
	return (begin());
}

static int
teardown(void **state)
{
	(void)state;
	end();
	return (0);
}

static struct engine_run
run(struct engine_run r)
{
	assert_int_equal(ops->eo_run(vcpu, &r), 0);
	return (r);
}
#define PLAIN		((struct engine_run){ .er_inject = -1 })
#define DONE(v)		((struct engine_run){ .er_inject = -1,		\
			    .er_complete = true, .er_data = (v) })

static struct vcpu_reg_state
regs(void)
{
	struct vcpu_reg_state r;

	memset(&r, 0, sizeof(r));
	assert_int_equal(ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r), 0);
	return (r);
}

/* --- exits of the script ---------------------------------------------------------- */

static int
port(struct kvm_run *r, int direction, unsigned size, unsigned count)
{
	r->exit_reason = KVM_EXIT_IO;
	r->io.direction = (uint8_t)direction;
	r->io.size = (uint8_t)size;
	r->io.port = 0x60;
	r->io.count = count;
	r->io.data_offset = DATA;
	return (0);
}

static int
script_out(struct kvm_run *r)
{
	memcpy((uint8_t *)r + DATA, "\x34\x12", 2);
	return (port(r, KVM_EXIT_IO_OUT, 2, 1));
}

static int
script_in4(struct kvm_run *r)
{
	return (port(r, KVM_EXIT_IO_IN, 4, 1));
}

static int
script_ins(struct kvm_run *r)
{
	return (port(r, KVM_EXIT_IO_IN, 2, 3));
}

static int
mmio(struct kvm_run *r, unsigned len, bool write)
{
	r->exit_reason = KVM_EXIT_MMIO;
	r->mmio.phys_addr = DEVICE;
	r->mmio.len = len;
	r->mmio.is_write = write;
	memcpy(r->mmio.data, "\1\2\3\4\5\6\7\10", 8);
	return (0);
}

static int
script_write7(struct kvm_run *r)
{
	return (mmio(r, 7, true));
}

static int
script_read3(struct kvm_run *r)
{
	return (mmio(r, 3, false));
}

static int
script_msr(struct kvm_run *r)
{
	r->exit_reason = KVM_EXIT_X86_WRMSR;
	r->msr.index = 0x3b;		/* TSC_ADJUST */
	r->msr.data = 1000;
	return (0);
}

static int
script_msr_unknown(struct kvm_run *r)
{
	r->exit_reason = KVM_EXIT_X86_RDMSR;
	r->msr.index = 0x12345;
	r->msr.error = 0;
	return (0);
}

static int
script_cr8(struct kvm_run *r)
{
	r->exit_reason = KVM_EXIT_SET_TPR;
	r->cr8 = 5;
	return (0);
}

static int
script_fault(struct kvm_run *r)
{
	r->exit_reason = KVM_EXIT_UNKNOWN;
	return (EFAULT);
}

static int
script_kicked(struct kvm_run *r)
{
	ops->eo_kick(vcpu);
	assert_int_equal(r->immediate_exit, 1);
	r->exit_reason = KVM_EXIT_INTR;
	return (EINTR);
}

static int
script_broken(struct kvm_run *r)
{
	r->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	r->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	return (0);
}

#define SCRIPT(...)							\
	do {								\
		static fake_exit *const script_[] = { __VA_ARGS__, NULL }; \
		fake.f_script = script_;				\
	} while (0)

/* --- the tests ---------------------------------------------------------------------- */

static void
registers(void **state)
{
	struct vcpu_reg_state r, back;
	unsigned n;

	(void)state;
	r = regs();
	for (n = 0; n < VCPU_REGS_RIP; n++)
		r.vrs_gprs[n] = 0x1111111111111111ull * (n + 1);
	r.vrs_gprs[VCPU_REGS_RIP] = 0x1234;
	r.vrs_gprs[VCPU_REGS_RFLAGS] = 0x46;
	for (n = 0; n < VCPU_REGS_NSREGS; n++) {
		r.vrs_sregs[n].vsi_sel = (uint16_t)(n * 8);
		r.vrs_sregs[n].vsi_base = n << 12;
		r.vrs_sregs[n].vsi_limit = 0xfffff + n;
		/* each bit of the access rights in some */
		r.vrs_sregs[n].vsi_ar = 0x93 | (n & 3) << 5 | (n & 1) << 12 |
		    (n & 2) << 13 | (n & 4) << 13 | (n == 6 ? 0x10000 : 0);
	}
	r.vrs_gdtr.vsi_base = 0x5000;
	r.vrs_gdtr.vsi_limit = 0x7f;
	r.vrs_idtr.vsi_base = 0x6000;
	r.vrs_crs[VCPU_REGS_CR2] = 0xdead;
	r.vrs_crs[VCPU_REGS_CR3] = 0x3000;
	r.vrs_crs[VCPU_REGS_CR8] = 7;
	r.vrs_crs[VCPU_REGS_XCR0] = 3;
	for (n = 0; n < VCPU_REGS_NMSRS; n++)
		if (n != VCPU_REGS_EFER)
			r.vrs_msrs[n] = 100 + n;
	for (n = 0; n < 4; n++)
		r.vrs_drs[n] = 0x7000 + n;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_ALL, &r), 0);
	back = regs();
	assert_memory_equal(&back, &r, sizeof(r));
	assert_int_equal(bare.b_cr8, 7);
	assert_int_equal(fake.f_sregs.fs.base, VCPU_REGS_FS << 12);
	assert_int_equal(fake.f_sregs.ldt.unusable, 1);
	assert_int_equal(fake.f_regs.r15, r.vrs_gprs[VCPU_REGS_R15]);
	/* one group alone */
	r.vrs_gprs[VCPU_REGS_RAX] = 1;
	r.vrs_crs[VCPU_REGS_CR2] = 2;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_CRS, &r), 0);
	back = regs();
	assert_int_equal(back.vrs_gprs[VCPU_REGS_RAX], 0x1111111111111111);
	assert_int_equal(back.vrs_crs[VCPU_REGS_CR2], 2);
}

static void
ports(void **state)
{
	struct engine_run r;

	(void)state;
	memcpy(mem + CODE, "\x66\xe7\x60", 3);		/* out ax, 60h */
	SCRIPT(script_out, script_in4);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_IO);
	assert_int_equal(r.er_io.vei_dir, VEI_DIR_OUT);
	assert_int_equal(r.er_io.vei_size, 2);
	assert_int_equal(r.er_io.vei_data, 0x1234);
	assert_true(r.er_io.vei_encoding && !r.er_io.vei_string);
	/* answered after the registers were read: RAX is not touched before */
	memcpy(mem + CODE, "\xe5\x60\xf4", 3);		/* in eax, 60h */
	fake.f_regs.rax = 0x1122334455667788;
	r = run(PLAIN);
	assert_int_equal(r.er_io.vei_dir, VEI_DIR_IN);
	assert_int_equal(regs().vrs_gprs[VCPU_REGS_RAX], 0x1122334455667788);
	r = run(DONE(0xffffffff12345678));
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	assert_int_equal(fake.f_regs.rax, 0x12345678);
}

/* A batch of INS, an exit an element, registers as if there was none. */
static void
strings(void **state)
{
	struct vcpu_reg_state s;
	struct engine_run r;
	uint16_t n, data[3];

	(void)state;
	memcpy(mem + CODE, "\x66\xf3\x6d\xf4", 4);	/* rep insw */
	s = regs();
	s.vrs_gprs[VCPU_REGS_RDX] = 0x60;
	s.vrs_gprs[VCPU_REGS_RCX] = 3;
	s.vrs_gprs[VCPU_REGS_RDI] = 0x8000;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_GPRS, &s), 0);
	fake.f_sregs.cs.db = 1;
	SCRIPT(script_ins);
	r = run(PLAIN);
	for (n = 0; n < 3; n++) {
		assert_int_equal(r.er_exit, ENGINE_EXIT_IO);
		assert_true(r.er_io.vei_string && r.er_io.vei_rep);
		assert_false(ops->eo_ready(vcpu));
		s = regs();
		assert_int_equal(s.vrs_gprs[VCPU_REGS_RCX], 2 - n);
		assert_int_equal(s.vrs_gprs[VCPU_REGS_RDI], 0x8002 + 2 * n);
		assert_int_equal(s.vrs_gprs[VCPU_REGS_RIP],
		    n == 2 ? CODE + 3 : CODE);
		if (n == 1) {	/* a kick waits for no element */
			ops->eo_kick(vcpu);
			r = run(DONE(0x1100u + n));
			assert_int_equal(r.er_exit, ENGINE_EXIT_KICK);
			r = run(PLAIN);
		} else
			r = run(DONE(0x1100u + n));
	}
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	memcpy(data, (uint8_t *)fake.f_run + DATA, sizeof(data));
	for (n = 0; n < 3; n++)
		assert_int_equal(data[n], 0x1100 + n);
}

static void
device_memory(void **state)
{
	struct engine_run r;

	(void)state;
	SCRIPT(script_write7, script_read3);
	r = run(PLAIN);				/* 4, 2 and 1 */
	assert_int_equal(r.er_exit, ENGINE_EXIT_MMIO);
	assert_true(r.er_mmio.write);
	assert_int_equal(r.er_mmio.size, 4);
	assert_int_equal(r.er_mmio.data, 0x04030201);
	bare.b_gpa = DEVICE + 4;		/* answered at once */
	r = run(DONE(0));
	assert_int_equal(bare.b_writes, 1);
	assert_int_equal(bare.b_value, 0x0605);
	assert_int_equal(r.er_mmio.gpa, DEVICE + 6);
	assert_int_equal(r.er_mmio.size, 1);
	assert_int_equal(r.er_mmio.data, 7);
	bare.b_gpa = 0;
	r = run(DONE(0));
	assert_false(r.er_mmio.write);
	assert_int_equal(r.er_mmio.size, 2);
	r = run(DONE(0xbbaa));
	assert_int_equal(r.er_mmio.gpa, DEVICE + 2);
	assert_int_equal(r.er_mmio.size, 1);
	assert_false(r.er_ready);
	r = run(DONE(0xcc));
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	assert_memory_equal(fake.f_run->mmio.data, "\xaa\xbb\xcc", 3);
}

static void
msrs(void **state)
{
	uint64_t value;

	(void)state;
	SCRIPT(script_msr, script_msr_unknown);
	assert_int_equal(run(PLAIN).er_exit, ENGINE_EXIT_HLT);
	assert_int_equal(fake.f_run->msr.error, 1);	/* the second one */
	assert_int_equal(fake.f_tsc_offset, 1000);
	assert_int_equal(ops->eo_tsc_offset(vcpu), 1000);
	assert_int_equal(ops->eo_getmsr(vcpu, 0x3b, &value), 0);
	assert_int_equal(value, 1000);
	assert_int_equal(ops->eo_setmsr(vcpu, 0x277, 6), 0);
	assert_int_equal(ops->eo_getmsr(vcpu, 0x277, &value), 0);
	assert_int_equal(value, 6);
	assert_int_equal(ops->eo_setmsr(vcpu, 0x1b, 0), EINVAL);
}

static void
events(void **state)
{
	struct engine_run r;

	(void)state;
	/* a kick that came first executes nothing; the vector is not lost */
	ops->eo_kick(vcpu);
	r = run((struct engine_run){ .er_inject = 33, .er_nmi = true });
	assert_int_equal(r.er_exit, ENGINE_EXIT_KICK);
	assert_int_equal(fake.f_entries, 0);
	assert_int_equal(fake.f_injected, 33);
	assert_int_equal(fake.f_nmis, 1);
	assert_false(r.er_ready);
	/* one that comes while it runs; CR8 goes to the monitor */
	SCRIPT(script_kicked, script_cr8);
	assert_int_equal(run(PLAIN).er_exit, ENGINE_EXIT_KICK);
	assert_int_equal(run(PLAIN).er_exit, ENGINE_EXIT_HLT);
	assert_int_equal(bare.b_cr8, 5);
	/* the client's own protection */
	SCRIPT(script_fault, script_broken);
	assert_int_equal(run(PLAIN).er_exit, ENGINE_EXIT_PROTECT);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_ERROR);
	assert_int_equal(r.er_errno, EIO);
}

static void
decoding(void **state)
{
	static const struct {
		const char *bytes;
		unsigned len, bits;
		struct io_insn want;
	} rows[] = {
		{ "\xe4\x60", 2, 32, { 2, 1, 4, 0x60, .ii_in = true,
		    .ii_imm = true } },
		{ "\x66\xed", 2, 32, { 2, 2, 4, 0, .ii_in = true } },
		{ "\x66\xed", 2, 16, { 2, 4, 2, 0, .ii_in = true } },
		{ "\xef", 1, 64, { 1, 4, 8, 0, .ii_in = false } },
		{ "\xf3\x48\x6f", 3, 64, { 3, 4, 8, 0, .ii_string = true,
		    .ii_rep = true } },
		{ "\x67\xf3\x6c", 3, 64, { 3, 1, 4, 0, .ii_in = true,
		    .ii_string = true, .ii_rep = true } },
		{ "\xf3\xee", 2, 32, { 2, 1, 4, 0, .ii_rep = false } },
		{ "\x90", 1, 32, { 0 } },
		{ "\xe4", 1, 32, { 0 } },
		{ "\x66\x66", 2, 32, { 0 } },
	};
	struct io_insn ii;
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		bool is = kvm_insn_decode((const uint8_t *)rows[n].bytes,
		    rows[n].len, rows[n].bits, &ii);

		assert_int_equal(is, rows[n].want.ii_len != 0);
		if (is)
			assert_memory_equal(&ii, &rows[n].want, sizeof(ii));
	}
}

/* --- the host fails ----------------------------------------------------------------- */

/* A life with everything in it. 0 or the first error. */
static int
life(void)
{
	uint8_t image[ENGINE_XSTATE_SIZE];
	struct engine_run r = PLAIN;
	struct vcpu_reg_state s;
	uint64_t value;
	int error, n;

	SCRIPT(script_out, script_in4, script_read3, script_msr, script_cr8,
	    script_fault);
	if ((error = begin()) != 0)
		return (error);
	for (n = 0; n < 8 && error == 0; n++) {
		error = ops->eo_run(vcpu, &r);
		r = DONE(1);
		if (error == 0 && n < 2)
			error = ops->eo_getregs(vcpu, VM_RWREGS_ALL, &s);
	}
	if (error == 0)
		error = ops->eo_setregs(vcpu, VM_RWREGS_ALL, &s);
	r = (struct engine_run){ .er_inject = 33, .er_nmi = true };
	if (error == 0)
		error = ops->eo_run(vcpu, &r);
	if (error == 0)
		error = ops->eo_getxstate(vcpu, image);
	if (error == 0)
		error = ops->eo_setxstate(vcpu, image);
	if (error == 0)
		error = ops->eo_getmsr(vcpu, 0x277, &value);
	if (error == 0)
		error = ops->eo_setmsr(vcpu, 0x277, value);
	if (error == 0)
		error = ops->eo_protect(vm, 0x4000, 0x1000, PROT_READ);
	if (error == 0)
		error = ops->eo_protect(vm, 0x2000, 0x8000, PROT_READ);
	return (error);
}

static void
failures(void **state)
{
	static const int numbers[] = { EIO, ENOMEM, EBUSY, EPERM };
	unsigned n, tolerated = 0, calls;
	int error;

	(void)state;
	fake_reset();
	assert_int_equal(life(), 0);
	calls = fake.f_calls;
	end();
	assert_true(calls > 100);
	for (n = 1; n <= calls; n++) {
		fake_reset();
		fake.f_fail = n;
		fake.f_errno = numbers[n % 4];
		error = life();
		assert_non_null(fake.f_failed);
		/* where it does not matter, the guest goes on all the same */
		if (error == 0)
			tolerated++;
		else if (error != fake.f_errno)
			fail_msg("call %u, %s %#lx: error %d in place of %d", n,
			    fake.f_failed, fake.f_request, error,
			    fake.f_errno);
		end();
	}
	assert_true(tolerated < calls / 4);
}

/* One clear line for whatever is wrong with /dev/kvm. */
static void
probing(void **state)
{
	static const int numbers[] = { ENOENT, EACCES, EBUSY, EMFILE };
	static const unsigned lacks[] = { KVM_CAP_USER_MEMORY,
	    KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_SYNC_REGS,
	    KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_SREGS2,
	    KVM_CAP_VCPU_ATTRIBUTES };
	char why[192], text[16];
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
		fake_reset();
		fake.f_open_errno = numbers[n];
		why[0] = '\0';
		assert_int_equal(ops->eo_probe(why, sizeof(why)), ENODEV);
		assert_non_null(strstr(why, "/dev/kvm"));
		assert_null(strchr(why, '\n'));
	}
	for (n = 0; n < sizeof(lacks) / sizeof(lacks[0]); n++) {
		fake_reset();
		fake.f_lacks = lacks[n];
		why[0] = '\0';
		assert_int_equal(ops->eo_probe(why, sizeof(why)), ENODEV);
		snprintf(text, sizeof(text), "%u)", lacks[n]);
		assert_non_null(strstr(why, text));
		assert_int_equal(fake.f_fds, 0);
	}
	/* the test guest on a KVM that only says yes to everything */
	for (n = 0; n < 40; n++) {
		fake_reset();
		fake.f_fail = (unsigned)n;
		fake.f_errno = EIO;
		why[0] = '\0';
		assert_int_equal(kvm_guest_test(1000, why, sizeof(why)),
		    ENODEV);
		assert_true(why[0] != '\0' && strchr(why, '\n') == NULL);
		assert_int_equal(fake.f_fds, 0);
		assert_int_equal(fake.f_maps, 0);
	}
}

static int
forever(struct kvm_run *run)
{
	const struct timespec ts = { .tv_sec = 60 };

	(void)run;
	return (nanosleep(&ts, NULL) == -1 ? errno : 0);
}

/* A guest that never comes back is cut short, also where signals are blocked. */
static void
hanging(void **state)
{
	static fake_exit *const script[] = { forever, forever, forever, NULL };
	struct timespec begin, now;
	char why[192] = "";

	(void)state;
	fake_reset();
	fake.f_script = script;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(kvm_guest_test(1000, why, sizeof(why)), ENODEV);
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_non_null(strstr(why, "does not end"));
	assert_true(now.tv_sec - begin.tv_sec < 50);
	assert_int_equal(fake.f_fds, 0);
	assert_int_equal(fake.f_maps, 0);
}

/* What is remembered, and whose word is not taken for it. */
static void
cache(void **state)
{
	char dir[] = "/tmp/vmm-kvm-test.XXXXXX", path[64], other[64];
	int dev, fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/vmm-kvm", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
	assert_true((dev = open("/dev/null", O_RDWR)) >= 0);
	assert_false(kvm_cache_has(dev));
	kvm_cache_put(dev);
	assert_true(kvm_cache_has(dev));
	/* another device, a file that others may write, a link */
	assert_true((fd = open("/dev/zero", O_RDWR)) >= 0);
	assert_false(kvm_cache_has(fd));
	close(fd);
	assert_int_equal(chmod(path, 0666), 0);
	assert_false(kvm_cache_has(dev));
	assert_int_equal(chmod(path, 0600), 0);
	assert_true(kvm_cache_has(dev));
	assert_int_equal(link(path, other), 0);
	assert_false(kvm_cache_has(dev));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("other", path), 0);
	assert_false(kvm_cache_has(dev));
	/* it is replaced, not written through */
	kvm_cache_put(dev);
	assert_true(kvm_cache_has(dev));
	assert_int_equal(truncate(path, 20), 0);
	assert_false(kvm_cache_has(dev));
	assert_int_equal(truncate(path, 1 << 30), 0);
	assert_false(kvm_cache_has(dev));
	/* what cannot be read like a file, or be replaced by one */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(kvm_cache_has(dev));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(kvm_cache_has(dev));
	kvm_cache_put(dev);
	assert_false(kvm_cache_has(dev));
	assert_int_equal(rmdir(path), 0);
	/* nor where nothing can be written */
	assert_int_equal(setenv("XDG_RUNTIME_DIR", other, 1), 0);
	kvm_cache_put(dev);
	assert_false(kvm_cache_has(dev));
	assert_int_equal(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
	close(dev);
	unlink(path);
	unlink(other);
	assert_int_equal(rmdir(dir), 0);
	unsetenv("XDG_RUNTIME_DIR");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(ports, setup, teardown),
		cmocka_unit_test_setup_teardown(strings, setup, teardown),
		cmocka_unit_test_setup_teardown(device_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(msrs, setup, teardown),
		cmocka_unit_test_setup_teardown(events, setup, teardown),
		cmocka_unit_test(decoding),
		cmocka_unit_test(failures),
		cmocka_unit_test(probing),
		cmocka_unit_test(hanging),
		cmocka_unit_test(cache),
	};
	int failed;

	mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return (1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	munmap(mem, MEMORY);
	return (failed);
}
