/*
 * machine/memory: RAM that is a file, and anonymous RAM where there can be no
 * file. Both are zero after memory_clear(), and the host has them back.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/board.h"

#define MIB	0x100000ull
#define PAGE	4096u

/* A machine of nothing but memory. */
static struct machine *
begin(uint64_t size)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct err err;

	assert_non_null(m);
	m->m_ram = -1;
	m->m_config.mc_memory = size;
	assert_int_equal(memory_new(m, &err), 0);
	return (m);
}

static void
end(struct machine *m)
{
	memory_free(m);
	free(m);
}

/* The machine's RAM that takes the host's memory, in bytes. */
static uint64_t
resident(const struct machine *m)
{
	const uint8_t *ram = m->m_memory.gm_range[0].host;
	size_t size = m->m_memory.gm_range[0].size, n = 0, i;
	unsigned char *there;
	struct stat st;

	if (m->m_ram != -1) {
		assert_int_equal(fstat(m->m_ram, &st), 0);
		return ((uint64_t)st.st_blocks * 512);
	}
	there = malloc(size / PAGE);
	assert_int_equal(mincore((void *)ram, size, there), 0);
	for (i = 0; i < size / PAGE; i++)
		n += there[i] & 1;
	free(there);
	return (n * PAGE);
}

static void
expect_zero(const struct machine *m)
{
	const uint8_t *ram = m->m_memory.gm_range[0].host;
	size_t size = m->m_memory.gm_range[0].size;

	assert_int_equal(ram[0], 0);
	assert_memory_equal(ram, ram + 1, size - 1);
}

static void
fill_and_clear(struct machine *m)
{
	uint8_t *ram = m->m_memory.gm_range[0].host;
	size_t size = m->m_memory.gm_range[0].size;
	int i;

	expect_zero(m);
	for (i = 0; i < 2; i++) {
		memset(ram, 0xa5, size);
		assert_true(resident(m) >= size);
		memory_clear(m);
		assert_true(resident(m) <= size / 16);
		expect_zero(m);
	}
	/* Locked pages cannot be given back. */
	assert_int_equal(mlock(ram + size / 2, PAGE), 0);
	memset(ram, 0xa5, size);
	memory_clear(m);
	expect_zero(m);
}

/* Another mapping of the file is the same memory, and may be executed. */
static void
test_file(void **state)
{
	struct machine *m = begin(8 * MIB);
	uint8_t *ram = m->m_memory.gm_range[0].host, *other;
	struct stat st;

	(void)state;
	assert_int_not_equal(m->m_ram, -1);
	assert_int_equal(fcntl(m->m_ram, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fstat(m->m_ram, &st), 0);
	assert_int_equal(st.st_size, 8 * MIB);
	fill_and_clear(m);
	other = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_SHARED, m->m_ram, 0);
	assert_ptr_not_equal(other, MAP_FAILED);
	ram[5 * MIB + 1] = 7;
	assert_int_equal(other[5 * MIB + 1], 7);
	other[MIB] = 9;
	assert_int_equal(ram[MIB], 9);
	memory_clear(m);
	assert_int_equal(other[MIB] | other[5 * MIB + 1], 0);
	munmap(other, 8 * MIB);
	end(m);
}

/* The part above 4 GiB is the rest of the same file. */
static void
test_high(void **state)
{
	struct machine *m = begin(4096 * MIB);
	const struct guest_memory *gm = &m->m_memory;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(gm->gm_nranges, 2);
	assert_int_not_equal(m->m_ram, -1);
	gm->gm_range[1].host[0x1234] = 3;
	assert_int_equal(pread(m->m_ram, &byte, 1,
	    (off_t)gm->gm_range[0].size + 0x1234), 1);
	assert_int_equal(byte, 3);
	memory_clear(m);
	assert_int_equal(gm->gm_range[1].host[0x1234], 0);
	end(m);
}

/* A limit of file sizes: anonymous memory, and no SIGXFSZ. */
static void
test_anonymous(void **state)
{
	struct rlimit old, rl;
	struct machine *m;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	rl = old;
	rl.rlim_cur = 8 * MIB - 1;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
	m = begin(8 * MIB);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(m->m_ram, -1);
	fill_and_clear(m);
	end(m);
}

/* A child of fork(2) has none of it. */
static void
test_fork(void **state)
{
	struct machine *m = begin(MIB);
	int status;
	pid_t pid;

	(void)state;
	m->m_memory.gm_range[0].host[0] = 1;
	if ((pid = fork()) == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*(volatile uint8_t *)m->m_memory.gm_range[0].host);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	end(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_high),
		cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_fork),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
