/*
 * Drivers that break the rules. Each must leave a device that says
 * DEVICE_NEEDS_RESET, a process that lives, and a device that works again after
 * a reset. Then random ones, from a printed seed: rings, registers and
 * configuration space full of nonsense, with another thread that changes
 * memory meanwhile.
 *
 *	hostile_test [seed [rounds]]
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "machine/virtio_blk.h"
#include "machine/virtio_net.h"
#include "machine/virtio_rng.h"
#include "network/network.h"
#include "storage/disk.h"
#include "../lib/virtdrv.h"

#define RAM		(1u << 20)
#define PAGE		0x80000u	/* where buffers are */

enum { SLOT_RNG = 1, SLOT_BLK, SLOT_NET };

struct fixture {
	struct fake_pc	 pc;
	struct virtio_rng *rng;
	struct virtio_blk *blk;
	struct virtio_net *net;
	struct network	*network;
	struct disk	*disk;
	struct loop	*loop;
	pthread_t	 thread;
	char		 path[64];
};

static unsigned seed;
static unsigned rounds = 30000;

static void *
run_loop(void *arg)
{
	loop_run(arg);
	return (NULL);
}

static void
begin(struct fixture *f)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
	struct err err;
	int fd;

	fake_pc_new(&f->pc, RAM);
	snprintf(f->path, sizeof(f->path), "/tmp/vmm-hostile-test.XXXXXX");
	assert_int_not_equal(fd = mkstemp(f->path), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	assert_int_equal(disk_open(&f->disk, f->path, 0, &err), 0);
	assert_non_null(f->loop = loop_new());
	assert_int_equal(virtio_rng_new(&f->rng, &f->pc.gm, f->pc.pci,
	    &f->pc.irq), 0);
	assert_int_equal(virtio_blk_new(&f->blk, f->disk, &f->pc.gm, f->pc.pci,
	    &f->pc.irq), 0);
	assert_int_equal(virtio_net_new(&f->net, f->loop, mac, 1500,
	    &f->pc.gm, f->pc.pci, &f->pc.irq), 0);
	assert_int_equal(network_user_open(&f->network, f->loop,
	    virtio_net_port(f->net), &(struct network_user){ 0 }, &err), 0);
	virtio_net_connect(f->net, f->network);
	fake_pc_start(&f->pc);
	assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f->loop),
	    0);
}

static void
end(struct fixture *f)
{
	loop_stop(f->loop);
	pthread_join(f->thread, NULL);
	network_close(f->network);
	virtio_net_free(f->net);
	virtio_blk_free(f->blk);
	virtio_rng_free(f->rng);
	disk_close(f->disk);
	loop_free(f->loop);
	fake_pc_free(&f->pc);
	unlink(f->path);
}

/* --- one broken rule at a time -------------------------------------------- */

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
#define NEXT		1
#define WRITE		2
#define INDIRECT	4

/* Descriptors from 0 on; table: at PAGE, for an indirect one that points there.
 * The available ring then holds the head, and its index is idx. */
static const struct hostile {
	const char	*name;
	struct desc	 desc[4];
	struct desc	 table[3];
	uint16_t	 head, idx;
	bool		 no_indirect;
} hostile[] = {
	{ "chain that loops on itself",
	  { { PAGE, 16, NEXT, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "chain of two that loops",
	  { { PAGE, 16, NEXT, 1 }, { PAGE, 16, NEXT, 0 } },
	  { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "buffer that ends outside of memory",
	  { { RAM - 8, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "buffer outside of memory",
	  { { 1ULL << 40, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "buffer that wraps around",
	  { { UINT64_MAX - 4, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 1,
	  false },
	{ "buffer longer than memory",
	  { { PAGE, UINT32_MAX, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "readable behind writable",
	  { { PAGE, 16, WRITE | NEXT, 1 }, { PAGE, 16, 0, 0 } },
	  { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "next out of range",
	  { { PAGE, 16, NEXT, 999 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "head out of range",
	  { { PAGE, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 16, 1, false },
	{ "head far out of range",
	  { { PAGE, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 65535, 1, false },
	{ "index that jumps",
	  { { PAGE, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 17, false },
	{ "index that goes back",
	  { { PAGE, 16, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 65535, false },
	{ "indirect that was not agreed on",
	  { { PAGE, 16, INDIRECT, 0 } }, { { PAGE, 16, WRITE, 0 } }, 0, 1,
	  true },
	{ "nested indirect",
	  { { PAGE, 16, INDIRECT, 0 } }, { { PAGE, 16, INDIRECT, 0 } }, 0, 1,
	  false },
	{ "indirect with next",
	  { { PAGE, 16, INDIRECT | NEXT, 1 }, { PAGE, 16, WRITE, 0 } },
	  { { PAGE, 16, WRITE, 0 } }, 0, 1, false },
	{ "indirect of odd length",
	  { { PAGE, 24, INDIRECT, 0 } }, { { PAGE, 16, WRITE, 0 } }, 0, 1,
	  false },
	{ "indirect of no length",
	  { { PAGE, 0, INDIRECT, 0 } }, { { PAGE, 16, WRITE, 0 } }, 0, 1,
	  false },
	{ "indirect outside of memory",
	  { { RAM, 16, INDIRECT, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "indirect that loops",
	  { { PAGE, 32, INDIRECT, 0 } },
	  { { PAGE, 16, NEXT, 1 }, { PAGE, 16, NEXT, 0 } }, 0, 1, false },
	{ "indirect with next out of range",
	  { { PAGE, 32, INDIRECT, 0 } },
	  { { PAGE, 16, NEXT, 2 }, { PAGE, 16, WRITE, 0 } }, 0, 1, false },
	{ "nothing to write into",
	  { { PAGE, 16, 0, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
	{ "nothing at all",
	  { { PAGE, 0, WRITE, 0 } }, { { 0, 0, 0, 0 } }, 0, 1, false },
};

/* The device does its work still, or again. */
static void
check_alive(struct fixture *f, unsigned slot, bool modern)
{
	static uint64_t at;
	struct drv d;
	struct seg seg[2];
	uint16_t head;

	drv_attach(&d, &f->pc, slot, modern);
	f->pc.brk = 0x10000;
	drv_up(&d, 0, slot == SLOT_NET ? 2 : 1);
	at = pc_alloc(&f->pc, 600, 16);
	pc_fill(&f->pc, at, 0, 600);
	seg[0] = (struct seg){ at, slot == SLOT_NET ? 100 : 16, false };
	seg[1] = (struct seg){ at + 16, 513, true };
	switch (slot) {
	case SLOT_RNG:
		drv_add(&d, 0, seg + 1, 1, false);
		break;
	case SLOT_BLK:
		drv_add(&d, 0, seg, 2, false);
		break;
	case SLOT_NET:
		drv_add(&d, 1, seg, 1, false);
		drv_kick(&d, 1);
		assert_true(drv_get(&d, 1, &head, NULL, true));
		return;
	}
	drv_kick(&d, 0);
	assert_true(drv_get(&d, 0, &head, NULL, true));
	assert_false(drv_broken(&d));
}

static void
wait_broken(struct drv *d)
{
	unsigned i;

	for (i = 0; !drv_broken(d); i++) {
		if (i == 100000)
			fail_msg("the device goes on");
		usleep(100);
	}
}

static void
break_rule(struct fixture *f, const struct hostile *h, unsigned slot,
    bool modern)
{
	uint16_t avail[2] = { 0, h->idx }, ring[16];
	unsigned q = slot == SLOT_NET ? 1 : 0, i;
	struct drv d;

	drv_attach(&d, &f->pc, slot, modern);
	f->pc.brk = 0x10000;
	drv_negotiate(&d, h->no_indirect ? 0 : F_INDIRECT);
	for (i = 0; i <= q; i++)
		drv_queue(&d, i, 16);
	drv_set_status(&d, modern ? 15 : 7);
	for (i = 0; i < 16; i++)
		ring[i] = h->head == 16 && !modern ? (uint16_t)d.q[q].size :
		    h->head;
	if (!modern && h->idx == 17)
		avail[1] = (uint16_t)(d.q[q].size + 1);
	pc_put(&f->pc, d.q[q].desc, h->desc, sizeof(h->desc));
	pc_fill(&f->pc, PAGE, 0, 4096);
	pc_put(&f->pc, PAGE, h->table, sizeof(h->table));
	pc_put(&f->pc, d.q[q].avail + 4, ring, sizeof(ring));
	pc_put(&f->pc, d.q[q].avail, avail, sizeof(avail));
	drv_kick(&d, q);
	wait_broken(&d);
	if (modern)
		assert_true(drv_isr(&d) & 2);	/* told so */
	/* it stays so, however often it is asked */
	for (i = 0; i < 10; i++)
		drv_kick(&d, q);
	assert_true(drv_broken(&d));
	check_alive(f, slot, modern);
}

static void
test_rules(void **state)
{
	struct fixture f;
	unsigned slot, i;

	(void)state;
	begin(&f);
	for (slot = SLOT_RNG; slot <= SLOT_NET; slot++)
		for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
			/* a card just drops a frame that is none */
			if (slot == SLOT_NET &&
			    strncmp(hostile[i].name, "nothing", 7) == 0)
				continue;
			break_rule(&f, &hostile[i], slot, true);
			break_rule(&f, &hostile[i], slot, false);
		}
	end(&f);
}

/* Queues that lie where no memory is, or askew. */
static void
test_queue_places(void **state)
{
	static const struct {
		uint64_t desc, avail, used;
		unsigned size;
	} places[] = {
		{ RAM, 0x2000, 0x3000, 16 },
		{ 0x1000, RAM, 0x3000, 16 },
		{ 0x1000, 0x2000, RAM, 16 },
		{ RAM - 16, 0x2000, 0x3000, 16 },
		{ 0x1000, RAM - 4, 0x3000, 16 },
		{ 0x1000, 0x2000, RAM - 8, 16 },
		{ UINT64_MAX & ~15ULL, 0x2000, 0x3000, 16 },
		{ 0x1000, UINT64_MAX & ~1ULL, 0x3000, 16 },
		{ 0x1000, 0x2000, UINT64_MAX & ~3ULL, 16 },
		{ 0x1008, 0x2000, 0x3000, 16 },
		{ 0x1000, 0x2001, 0x3000, 16 },
		{ 0x1000, 0x2000, 0x3002, 16 },
		{ 0x1000, 0x2000, 0x3000, 15 },
		{ 0x1000, 0x2000, 0x3000, 512 },
		{ 0x1000, 0x2000, 0x3000, 65535 },
		{ 0x1000, 0x2000, 0x3000, 0 },
	};
	struct fixture f;
	struct drv d;
	unsigned i;

	(void)state;
	begin(&f);
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		drv_attach(&d, &f.pc, SLOT_BLK, true);
		drv_negotiate(&d, 0);
		/* sizes that a driver of ours would not know what to do with */
		drv_queue_at(&d, 0, 16, 0x1000, 0x2000, 0x3000);
		drv_negotiate(&d, 0);
		bus_write(f.pc.memory, d.common + 22, 2, 0);
		bus_write(f.pc.memory, d.common + 24, 2, places[i].size);
		bus_write(f.pc.memory, d.common + 32, 8, places[i].desc);
		bus_write(f.pc.memory, d.common + 40, 8, places[i].avail);
		bus_write(f.pc.memory, d.common + 48, 8, places[i].used);
		bus_write(f.pc.memory, d.common + 28, 2, 1);
		assert_int_equal(bus_read(f.pc.memory, d.common + 28, 2), 0);
		assert_true(drv_broken(&d));
		drv_set_status(&d, 15);
		drv_kick(&d, 0);
		check_alive(&f, SLOT_BLK, true);
	}
	drv_attach(&d, &f.pc, SLOT_BLK, false);
	drv_negotiate(&d, 0);
	drv_queue_at(&d, 0, 16, (uint64_t)UINT32_MAX << 12, 0, 0);
	assert_true(drv_broken(&d));
	check_alive(&f, SLOT_BLK, false);
	end(&f);
}

/* More requests in flight than there are heads: the same head again and again. */
static void
test_same_head(void **state)
{
	struct { uint32_t type, ioprio; uint64_t sector; } h = { 0, 0, 0 };
	struct seg seg[2] = { { PAGE, 16, false }, { PAGE + 16, 4097, true } };
	struct fixture f;
	struct drv d;
	uint16_t idx, i;

	(void)state;
	begin(&f);
	drv_attach(&d, &f.pc, SLOT_BLK, true);
	drv_up(&d, 0, 1);
	pc_put(&f.pc, PAGE, &h, 16);
	drv_add(&d, 0, seg, 2, false);
	for (i = 0; i < 256; i++)
		pc_put(&f.pc, d.q[0].avail + 4 + 2 * i,
		    f.pc.ram + d.q[0].avail + 4, 2);
	for (idx = 1; idx < 5000; idx = (uint16_t)(idx + 200)) {
		pc_put(&f.pc, d.q[0].avail + 2, &idx, 2);
		drv_kick(&d, 0);
	}
	/* each was taken, and each is answered or the device says no more */
	for (i = 0; i < 10000 && !drv_broken(&d); i++) {
		memcpy(&idx, f.pc.ram + d.q[0].used + 2, 2);
		if (idx == 4801)
			break;
		usleep(100);
	}
	assert_true(i < 10000);
	check_alive(&f, SLOT_BLK, true);
	end(&f);
}

/* --- at random ------------------------------------------------------------ */

struct scribbler {
	struct fake_pc	*pc;
	atomic_bool	 stop;
	unsigned	 seed;
};

/* A second processor of the guest, that changes rings under the device. */
static void *
scribble(void *arg)
{
	struct scribbler *s = arg;
	unsigned i;

	while (!atomic_load(&s->stop)) {
		for (i = 0; i < 64; i++)
			__atomic_store_n((uint16_t *)(void *)(s->pc->ram +
			    0x10000 + (rand_r(&s->seed) & 0x3ffe)),
			    (uint16_t)rand_r(&s->seed), __ATOMIC_RELAXED);
		usleep(200);
	}
	return (NULL);
}

static uint32_t
rnd(uint32_t n)
{
	return ((uint32_t)rand_r(&seed) % n);
}

static uint64_t
rnd_address(void)
{
	static const uint64_t odd[] = { 0, RAM - 1, RAM, UINT64_MAX, 1ULL << 32,
	    0xfee00000, UINT64_MAX - 4095 };

	return (rnd(8) == 0 ? odd[rnd(7)] : 0x10000 + rnd(0x20000));
}

static void
rnd_desc(struct desc *desc)
{
	static const uint32_t lens[] = { 0, 1, 10, 12, 16, 32, 64, 512, 513,
	    4096, 65536, UINT32_MAX };

	desc->addr = rnd_address();
	desc->len = lens[rnd(12)];
	desc->flags = (uint16_t)(rnd(16) == 0 ? rnd(65536) : rnd(4) |
	    (rnd(6) == 0 ? INDIRECT : 0));
	desc->next = (uint16_t)(rnd(16) == 0 ? rnd(65536) : rnd(16));
}

/* One driver with a ring of nonsense that is nearly right. */
static void
fuzz_ring(struct fixture *f)
{
	unsigned slot = SLOT_RNG + rnd(3), q = slot == SLOT_NET ? rnd(2) : 0;
	bool modern = rnd(2);
	struct { uint32_t type, ioprio; uint64_t sector; } h;
	struct desc desc;
	struct drv d;
	uint16_t idx, head;
	unsigned i, n;

	drv_attach(&d, &f->pc, slot, modern);
	f->pc.brk = 0x10000;
	drv_negotiate(&d, rnd(4) * F_INDIRECT);
	for (i = 0; i <= q; i++)
		drv_queue(&d, i, 1u << rnd(9));
	drv_set_status(&d, modern ? 15 : 7);
	for (n = 1 + rnd(4); n > 0; n--) {
		for (i = 0; i < 16 && i < d.q[q].size; i++) {
			rnd_desc(&desc);
			memcpy(f->pc.ram + d.q[q].desc + 16 * i, &desc, 16);
		}
		for (i = 0; i < 8; i++) {
			rnd_desc(&desc);
			memcpy(f->pc.ram + 0x10000 + rnd(0x20000), &desc, 16);
			h.type = rnd(16);
			h.ioprio = 0;
			h.sector = rnd(4) == 0 ? rnd_address() : rnd(2048);
			memcpy(f->pc.ram + 0x10000 + rnd(0x20000), &h, 16);
		}
		for (i = 0; i < 16 && i < d.q[q].size; i++) {
			head = (uint16_t)(rnd(32) == 0 ? rnd(65536) : rnd(16));
			memcpy(f->pc.ram + d.q[q].avail + 4 + 2 * i, &head, 2);
		}
		idx = (uint16_t)(rnd(16) == 0 ? rnd(65536) : rnd(8));
		memcpy(f->pc.ram + d.q[q].avail + 2, &idx, 2);
		drv_kick(&d, rnd(16) == 0 ? rnd(65536) : q);
		if (rnd(4) == 0)
			drv_isr(&d);
	}
}

/* Registers of both windows and configuration space. */
static void
fuzz_registers(struct fixture *f)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	unsigned slot = SLOT_RNG + rnd(3), i, size;
	uint64_t value;
	struct drv d;

	drv_attach(&d, &f->pc, slot, true);
	for (i = 0; i < 50; i++) {
		size = sizes[rnd(4)];
		value = rnd(4) == 0 ? (uint64_t)rnd(UINT32_MAX) << 16 ^
		    rnd(UINT32_MAX) : rnd(2) ? rnd(16) : rnd_address();
		switch (rnd(6)) {
		case 0:
			bus_write(f->pc.memory, d.common + rnd(64), size,
			    value);
			break;
		case 1:
			bus_read(f->pc.memory, d.common + rnd(0x4000), size);
			break;
		case 2:
			bus_write(f->pc.memory, d.common + rnd(0x4000), size,
			    value);
			break;
		case 3:
			bus_write(f->pc.ports, d.io + rnd(128),
			    size == 8 ? 4 : size, (uint32_t)value);
			break;
		case 4:
			bus_read(f->pc.ports, d.io + rnd(128),
			    size == 8 ? 4 : size);
			break;
		case 5:
			/* not the BARs: others find us there */
			pc_config_write(&f->pc, slot, 0x40 + 4 * rnd(48), 4,
			    (uint32_t)value);
			pc_config_read(&f->pc, slot, 0x40 + 4 * rnd(48), 4);
			break;
		}
	}
}

static void
test_random(void **state)
{
	struct scribbler s = { .seed = seed };
	struct fixture f;
	pthread_t thread;
	unsigned i, slot;

	(void)state;
	printf("# seed %u, %u rounds\n", seed, rounds);
	begin(&f);
	s.pc = &f.pc;
	pthread_create(&thread, NULL, scribble, &s);
	for (i = 0; i < rounds; i++) {
		if (rnd(3) == 0)
			fuzz_registers(&f);
		else
			fuzz_ring(&f);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	for (slot = SLOT_RNG; slot <= SLOT_NET; slot++) {
		check_alive(&f, slot, true);
		check_alive(&f, slot, false);
	}
	end(&f);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_queue_places),
		cmocka_unit_test(test_same_head),
		cmocka_unit_test(test_random),
	};

	seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) :
	    (unsigned)time(NULL);
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 0);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
