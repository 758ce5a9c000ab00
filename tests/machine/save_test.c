/*
 * machine_save() and machine_load() on a machine that runs: what is loaded goes
 * on from there, other threads may ask at any time, and what is not its state
 * is refused and leaves it as it was.
 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/machine.h"

#define MIB	0x100000ull

static char kernel[] = "/tmp/save_test.XXXXXX";
static char disc[] = "/tmp/save_test.XXXXXX";

/* A multiboot kernel: counts in EBX and says its low byte on COM1. */
static void
guest(void)
{
	const uint32_t header[8] = { 0x1badb002, 0x10000,
		-(0x1badb002u + 0x10000u), 0x100000, 0x100000, 0, 0x110000,
		0x100020 };
	const uint8_t code[] = {
		0x31, 0xdb,			/* xor ebx, ebx */
		0x66, 0xba, 0xf8, 0x03,		/* mov dx, 3f8h */
		0x88, 0xd8,			/* mov al, bl */
		0xee,				/* out dx, al */
		0x43,				/* inc ebx */
		0xeb, 0xfa			/* jmp to the mov */
	};
	int fd = mkstemp(kernel);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, header, sizeof(header)), sizeof(header));
	assert_int_equal(write(fd, code, sizeof(code)), sizeof(code));
	close(fd);
	assert_int_not_equal(fd = mkstemp(disc), -1);
	assert_int_equal(ftruncate(fd, MIB), 0);
	close(fd);
}

struct rig {
	struct machine	*m;
	pthread_t	 thread;
	int		 fd[2];
};

static void *
run_thread(void *arg)
{
	return ((void *)(uintptr_t)machine_run(arg, NULL, NULL));
}

static void
begin(struct rig *r, uint64_t memory)
{
	struct machine_config mc = { .mc_name = "test", .mc_kernel = kernel,
		.mc_memory = memory, .mc_engine = "auto", .mc_exit_port = -1,
		.mc_console_in = -1, .mc_no_reboot = true,
		.mc_cdrom = disc, .mc_nnics = 1 };
	struct err err;

	assert_int_equal(pipe(r->fd), 0);
	mc.mc_console_out = r->fd[1];
	if (machine_new(&r->m, &mc, &err) == -1)
		fail_msg("%s", err.e_text);
	assert_int_equal(pthread_create(&r->thread, NULL, run_thread, r->m),
	    0);
}

/* Waits for n bytes; the last of them. */
static uint8_t
bytes(struct rig *r, unsigned n)
{
	struct pollfd p = { .fd = r->fd[0], .events = POLLIN };
	uint8_t byte = 0;

	while (n-- > 0) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		assert_int_equal(read(r->fd[0], &byte, 1), 1);
	}
	return (byte);
}

static void
end(struct rig *r)
{
	struct pollfd p = { .fd = r->fd[0], .events = POLLIN };
	uint8_t buf[4096];
	void *how;

	machine_stop(r->m);
	while (poll(&p, 1, 50) == 1 && read(r->fd[0], buf, sizeof(buf)) > 0)
		continue;
	pthread_join(r->thread, &how);
	assert_int_equal((uintptr_t)how, MACHINE_STOPPED);
	machine_free(r->m);
	close(r->fd[0]);
	close(r->fd[1]);
}

static void
save(struct rig *r, void **data, size_t *size)
{
	struct err err;

	if (machine_save(r->m, data, size, &err) == -1)
		fail_msg("%s", err.e_text);
}

static void
load(struct rig *r, const void *data, size_t size)
{
	struct err err;

	if (machine_load(r->m, data, size, &err) == -1)
		fail_msg("%s", err.e_text);
}

/* Forgets what a part has that goes by the host's time (base/state.c). */
static void
forget(void *data, size_t size, const char *name)
{
	uint8_t *part = memmem(data, size, name, strlen(name));
	uint64_t length;

	assert_non_null(part);
	memcpy(&length, part + 32, sizeof(length));
	assert_true(length < size);
	memset(part + 40, 0, (size_t)length);
}

/* What it counts goes on, paused or not, and goes back to what was saved. */
static void
test_goes_on(void **unused)
{
	size_t size, again_size;
	void *data, *again;
	struct rig r;
	int i;

	(void)unused;
	begin(&r, 8 * MIB);
	bytes(&r, 1000);
	for (i = 0; i < 50; i++) {
		save(&r, &data, &size);
		bytes(&r, 100);
		load(&r, data, size);
		bytes(&r, 100);
		free(data);
	}
	assert_int_equal(machine_pause(r.m), 0);
	save(&r, &data, &size);
	load(&r, data, size);
	save(&r, &again, &again_size);
	/* nothing ran: but for clocks that went on it is the same */
	assert_int_equal(size, again_size);
	forget(data, size, "mc146818");
	forget(again, size, "mc146818");
	forget(data, size, "ACPI registers");
	forget(again, size, "ACPI registers");
	for (i = 0; i < (int)size; i++)
		if (((uint8_t *)data)[i] != ((uint8_t *)again)[i])
			fail_msg("byte %d differs", i);
	machine_unpause(r.m);
	bytes(&r, 1000);
	free(data);
	free(again);
	end(&r);
}

/* Loading an old state takes the guest's count back to then. */
static void
test_goes_back(void **unused)
{
	uint8_t last, byte, jumped = 0;
	struct rig r;
	void *data;
	size_t size;
	unsigned i;

	(void)unused;
	begin(&r, 8 * MIB);
	last = bytes(&r, 1);
	save(&r, &data, &size);
	for (i = 0; i < 3; i++) {
		/* an odd number of bytes later: a byte does not come after
		 * its predecessor once, when the count goes back */
		last = bytes(&r, 333);
		load(&r, data, size);
		for (jumped = 0; jumped == 0; last = byte) {
			byte = bytes(&r, 1);
			jumped = byte != (uint8_t)(last + 1);
		}
	}
	assert_int_not_equal(jumped, 0);
	free(data);
	end(&r);
}

static void
test_refused(void **unused)
{
	unsigned refused = 0, i;
	struct rig r, other;
	struct err err;
	uint8_t *copy;
	void *data;
	size_t size, at;

	(void)unused;
	begin(&r, 8 * MIB);
	bytes(&r, 10);
	save(&r, &data, &size);
	assert_int_equal(machine_load(r.m, data, size - 1, &err), -1);
	assert_int_equal(machine_load(r.m, data, 0, &err), -1);
	assert_non_null(strstr(err.e_text, "machine"));

	begin(&other, 16 * MIB);
	bytes(&other, 10);
	assert_int_equal(machine_load(other.m, data, size, &err), -1);
	if (strstr(err.e_text, "memory in bytes is 8388608, and 16777216") ==
	    NULL)
		fail_msg("%s", err.e_text);
	bytes(&other, 1000);
	end(&other);

	/* registers may be anything then: the guest is not to run with them */
	assert_int_equal(machine_pause(r.m), 0);
	assert_non_null(copy = malloc(size));
	for (i = 0; i < 400; i++) {
		memcpy(copy, data, size);
		at = (size_t)rand() % size;
		copy[at] ^= (uint8_t)(1 + rand() % 255);
		if (machine_load(r.m, copy, size, &err) == -1) {
			refused++;
			assert_int_not_equal(err.e_text[0], '\0');
			if (strstr(err.e_text, "nor can that") != NULL)
				fail_msg("byte %zu: %s", at, err.e_text);
		}
	}
	assert_in_range(refused, 50, 399);
	/* whatever was loaded last: it takes what is good */
	load(&r, data, size);
	machine_unpause(r.m);
	bytes(&r, 1000);
	free(copy);
	free(data);
	end(&r);
}

/* One that does not run, or that ends while somebody waits. */
static void *
ask(void *arg)
{
	void *data;
	size_t size;

	while (machine_save(arg, &data, &size, NULL) == 0)
		free(data);
	return (NULL);
}

static void
test_ends(void **unused)
{
	pthread_t threads[3];
	struct rig r;
	void *data, *how;
	size_t size;
	int i, n;

	(void)unused;
	for (n = 0; n < 10; n++) {
		begin(&r, 8 * MIB);
		bytes(&r, 10);
		for (i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, ask,
			    r.m), 0);
		bytes(&r, 100);
		machine_stop(r.m);
		for (i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);
		while (machine_save(r.m, &data, &size, NULL) == 0)
			free(data);
		close(r.fd[0]);		/* who writes there gives up */
		pthread_join(r.thread, &how);
		assert_int_equal((uintptr_t)how, MACHINE_STOPPED);
		machine_free(r.m);
		close(r.fd[1]);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_goes_back),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ends),
	};
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) :
	    (unsigned)time(NULL);
	int failed;

	printf("# seed %u\n", seed);
	srand(seed);
	signal(SIGPIPE, SIG_IGN);
	guest();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(kernel);
	unlink(disc);
	return (failed);
}
