/*
 * virtio-blk on a real image: all requests through both windows, cut in any
 * way, many at once; errors; reset with requests in flight.
 */
#include <sys/stat.h>

#include <fcntl.h>
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

#include "machine/virtio_blk.h"
#include "storage/disk.h"
#include "../lib/virtdrv.h"

#define SECTORS		2048
#define F_RO		(1ULL << 5)
#define F_FLUSH		(1ULL << 9)
#define F_DISCARD	(1ULL << 13)
#define F_ZEROES	(1ULL << 14)

enum { OP_IN = 0, OP_OUT = 1, OP_FLUSH = 4, OP_ID = 8, OP_DISCARD = 11,
    OP_ZEROES = 13 };

struct fixture {
	struct fake_pc	 pc;
	struct disk	*disk;
	struct virtio_blk *blk;
	struct drv	 d;
	char		 path[64];
	int		 fd;		/* a look from outside */
};

static void
begin(struct fixture *f, bool modern, int flags)
{
	struct err err;

	fake_pc_new(&f->pc, 16 << 20);
	snprintf(f->path, sizeof(f->path), "/tmp/vmm-blk-test.XXXXXX");
	assert_int_not_equal(f->fd = mkstemp(f->path), -1);
	assert_int_equal(ftruncate(f->fd, SECTORS * 512), 0);
	if (disk_open(&f->disk, f->path, flags, &err) == -1)
		fail_msg("%s", err.e_text);
	assert_int_equal(virtio_blk_new(&f->blk, f->disk, &f->pc.gm, f->pc.pci,
	    &f->pc.irq), 0);
	fake_pc_start(&f->pc);
	drv_attach(&f->d, &f->pc, 1, modern);
}

static void
end(struct fixture *f)
{
	virtio_blk_free(f->blk);
	disk_close(f->disk);
	assert_true(fake_pc_check(&f->pc));
	fake_pc_free(&f->pc);
	close(f->fd);
	unlink(f->path);
}

struct request {
	uint64_t	 header, data, status;
	uint32_t	 len;
	uint16_t	 head;
};

/* Makes a request available; cut: the largest buffer. */
static void
submit(struct fixture *f, struct request *r, uint32_t op, uint64_t sector,
    uint32_t len, uint32_t cut, bool indirect)
{
	struct {
		uint32_t type, ioprio;
		uint64_t sector;
	} h = { op, 0, sector };
	bool in = op == OP_IN || op == OP_ID;
	uint32_t done, n, total[2];
	struct seg seg[200];
	uint64_t at[2];
	unsigned i, ns = 0;

	if (r->header == 0) {
		/* header, data of a write and status lie one after another so
		 * that buffers may reach from one into the other */
		r->header = pc_alloc(&f->pc, 16 + len + 1, 1);
		r->data = r->header + 16;
		r->status = r->data + len;
		r->len = len;
	}
	assert_true(len <= r->len);
	pc_put(&f->pc, r->header, &h, 16);
	pc_fill(&f->pc, r->status, 0xee, 1);
	at[0] = r->header;
	total[0] = 16 + (in ? 0 : len);
	at[1] = in ? r->data : r->status;
	total[1] = in ? len + 1 : 1;
	if (in)
		r->status = r->data + len;
	for (i = 0; i < 2; i++)
		for (done = 0; done < total[i]; done += n) {
			n = total[i] - done < cut ? total[i] - done : cut;
			assert_true(ns < 200);
			seg[ns++] = (struct seg){ at[i] + done, n, i == 1 };
		}
	r->head = drv_add(&f->d, 0, seg, ns, indirect);
}

static uint8_t
finish(struct fixture *f, struct request *r, uint32_t *used)
{
	uint16_t head;
	uint32_t len;

	assert_true(drv_get(&f->d, 0, &head, &len, true));
	assert_int_equal(head, r->head);
	if (used != NULL)
		*used = len;
	return (f->pc.ram[r->status]);
}

static uint8_t
one(struct fixture *f, struct request *r, uint32_t op, uint64_t sector,
    uint32_t len, uint32_t cut)
{
	submit(f, r, op, sector, len, cut, false);
	drv_kick(&f->d, 0);
	return (finish(f, r, NULL));
}

static void
pattern(uint8_t *buf, size_t len, unsigned seed)
{
	size_t i;

	for (i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		buf[i] = (uint8_t)(seed >> 16);
	}
}

static void
transfer(bool modern, uint64_t features)
{
	static const uint32_t cuts[] = { 1 << 20, 4096, 512, 513, 77, 7 };
	uint8_t data[1024], back[1024];
	struct request w = { 0 }, r = { 0 };
	struct fixture f;
	uint32_t used;
	unsigned i;

	begin(&f, modern, 0);
	drv_up(&f.d, features | F_FLUSH, 1);
	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		pattern(data, sizeof(data), i);
		submit(&f, &w, OP_OUT, 100 + i, 1024, cuts[i],
		    features & F_INDIRECT);
		pc_put(&f.pc, w.data, data, sizeof(data));
		drv_kick(&f.d, 0);
		assert_int_equal(finish(&f, &w, &used), 0);
		assert_int_equal(used, 1);
		assert_int_equal(pread(f.fd, back, 1024, (100 + i) * 512),
		    1024);
		assert_memory_equal(data, back, 1024);
		pattern(data, sizeof(data), 1000 + i);
		assert_int_equal(pwrite(f.fd, data, 1024, (200 + i) * 512),
		    1024);
		submit(&f, &r, OP_IN, 200 + i, 1024, cuts[i],
		    features & F_INDIRECT);
		drv_kick(&f.d, 0);
		assert_int_equal(finish(&f, &r, &used), 0);
		assert_int_equal(used, 1025);
		assert_memory_equal(f.pc.ram + r.data, data, 1024);
	}
	assert_int_equal(one(&f, &w, OP_FLUSH, 0, 0, 16), 0);
	assert_false(drv_broken(&f.d));
	end(&f);
}

static void
test_transfer(void **state)
{
	(void)state;
	transfer(false, 0);
	transfer(false, F_INDIRECT | F_EVENT_IDX);
	transfer(true, 0);
	transfer(true, F_INDIRECT | F_EVENT_IDX);
}

static void
test_config(void **state)
{
	char id[21] = "", serial[20];
	struct request r = { 0 };
	struct fixture f;
	uint64_t capacity;
	uint32_t word;

	(void)state;
	begin(&f, true, 0);
	assert_int_equal(pc_config_read(&f.pc, 1, 2, 2), 0x1001);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x2e, 2), 2);
	drv_up(&f.d, 0, 1);
	drv_config(&f.d, 0, &capacity, 8);
	assert_int_equal(capacity, SECTORS);
	drv_config(&f.d, 12, &word, 4);
	assert_int_equal(word, 254);
	drv_config(&f.d, 20, &word, 4);
	assert_int_equal(word, 512);
	drv_config(&f.d, 40, &word, 4);
	assert_int_equal(word, 1);
	assert_int_equal(one(&f, &r, OP_ID, 0, 20, 3), 0);
	memcpy(id, f.pc.ram + r.data, 20);
	disk_serial(f.disk, serial);
	assert_memory_equal(id, serial, 20);
	assert_memory_equal(id, "vmm-", 4);
	end(&f);
}

static void
test_errors(void **state)
{
	struct request r = { 0 }, big = { 0 };
	struct fixture f;

	(void)state;
	begin(&f, true, 0);
	drv_up(&f.d, F_FLUSH, 1);
	submit(&f, &big, OP_IN, 0, 4096, 4096, false);	/* sets its size */
	drv_kick(&f.d, 0);
	assert_int_equal(finish(&f, &big, NULL), 0);
	assert_int_equal(one(&f, &r, OP_IN, SECTORS - 1, 512, 512), 0);
	assert_int_equal(one(&f, &r, OP_IN, SECTORS, 512, 512), 1);
	assert_int_equal(one(&f, &r, OP_OUT, SECTORS, 512, 512), 1);
	assert_int_equal(one(&f, &big, OP_IN, SECTORS - 7, 4096, 4096), 1);
	assert_int_equal(one(&f, &r, OP_OUT, UINT64_MAX, 512, 512), 1);
	assert_int_equal(one(&f, &r, OP_IN, UINT64_MAX / 512 + 1, 512, 512), 1);
	assert_int_equal(one(&f, &r, OP_IN, 0, 511, 512), 1);
	assert_int_equal(one(&f, &r, OP_OUT, 0, 100, 512), 1);
	assert_int_equal(one(&f, &r, 99, 0, 512, 512), 2);
	assert_int_equal(one(&f, &r, OP_IN, 0, 512, 512), 0);
	assert_false(drv_broken(&f.d));
	end(&f);
}

static uint8_t
range(struct fixture *f, uint32_t op, uint64_t sector, uint32_t sectors,
    uint32_t flags)
{
	struct { uint64_t sector; uint32_t sectors, flags; } body = { sector,
	    sectors, flags };
	struct request r = { 0 };

	submit(f, &r, op, 0, 16, 5, false);
	pc_put(&f->pc, r.data, &body, 16);
	drv_kick(&f->d, 0);
	return (finish(f, &r, NULL));
}

static void
test_ranges(void **state)
{
	uint8_t data[8 * 4096], back[8 * 4096], zeros[4096] = { 0 };
	struct fixture f;

	(void)state;
	begin(&f, true, 0);
	drv_up(&f.d, F_FLUSH | F_DISCARD | F_ZEROES, 1);
	pattern(data, sizeof(data), 5);
	assert_int_equal(pwrite(f.fd, data, sizeof(data), 0), sizeof(data));
	assert_int_equal(range(&f, OP_ZEROES, 8, 8, 0), 0);
	assert_int_equal(range(&f, OP_ZEROES, 32, 8, 1), 0);
	assert_int_equal(range(&f, OP_DISCARD, 48, 8, 0), 0);
	memset(data + 4096, 0, 4096);
	memset(data + 4 * 4096, 0, 4096);
	assert_int_equal(pread(f.fd, back, sizeof(back), 0), sizeof(back));
	assert_memory_equal(back, data, 6 * 4096);
	assert_memory_equal(back + 7 * 4096, data + 7 * 4096, 4096);
	assert_memory_equal(back + 4096, zeros, 4096);
	/* odd sectors */
	assert_int_equal(range(&f, OP_ZEROES, 1, 3, 0), 0);
	memset(data + 512, 0, 3 * 512);
	assert_int_equal(pread(f.fd, back, 4096, 0), 4096);
	assert_memory_equal(back, data, 4096);
	assert_int_equal(range(&f, OP_ZEROES, 0, 0, 0), 0);
	assert_int_equal(range(&f, OP_DISCARD, 0, 8, 1), 2);
	assert_int_equal(range(&f, OP_ZEROES, 0, 8, 2), 2);
	assert_int_equal(range(&f, OP_ZEROES, SECTORS, 1, 0), 1);
	assert_int_equal(range(&f, OP_DISCARD, SECTORS - 1, 2, 0), 1);
	assert_int_equal(range(&f, OP_DISCARD, UINT64_MAX, 2, 0), 1);
	assert_int_equal(range(&f, OP_ZEROES, 0, UINT32_MAX, 0), 1);
	assert_false(drv_broken(&f.d));
	end(&f);
}

static void
test_readonly(void **state)
{
	struct request r = { 0 };
	struct fixture f;

	(void)state;
	begin(&f, true, DISK_RDONLY);
	assert_true(drv_offered(&f.d) & F_RO);
	assert_false(drv_offered(&f.d) & (F_DISCARD | F_ZEROES));
	drv_up(&f.d, F_RO | F_FLUSH, 1);
	assert_int_equal(one(&f, &r, OP_IN, 0, 512, 512), 0);
	assert_int_equal(one(&f, &r, OP_OUT, 0, 512, 512), 1);
	assert_int_equal(one(&f, &r, OP_FLUSH, 0, 0, 512), 0);
	assert_int_equal(range(&f, OP_DISCARD, 0, 8, 0), 2);
	end(&f);
}

/* As many in flight as the ring holds, against a copy of the disk in memory. */
static void
test_many(void **state)
{
	static uint8_t model[SECTORS * 512], back[SECTORS * 512];
	struct request r[64];
	struct { uint32_t op, sector, n; } todo[64];
	struct fixture f;
	unsigned i, j, round, seed = (unsigned)time(NULL), slot;
	uint16_t head;

	(void)state;
	printf("# seed %u\n", seed);
	begin(&f, true, 0);
	drv_up(&f.d, F_FLUSH | F_INDIRECT | F_EVENT_IDX, 1);
	memset(model, 0, sizeof(model));
	memset(r, 0, sizeof(r));
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 64; i++) {
			/* 32 sectors each: requests in flight do not overlap */
			todo[i].n = 1 + (unsigned)rand_r(&seed) % 8;
			todo[i].sector = i * 32 +
			    (unsigned)rand_r(&seed) % 24;
			todo[i].op = (unsigned)rand_r(&seed) % 2 ? OP_OUT :
			    OP_IN;
			if (r[i].header == 0) {
				r[i].header = pc_alloc(&f.pc, 16 + 4096 + 1, 1);
				r[i].len = 4096;
			}
			r[i].data = r[i].header + 16;
			r[i].status = r[i].data + todo[i].n * 512;
			if (todo[i].op == OP_OUT) {
				pattern(model + todo[i].sector * 512,
				    todo[i].n * 512, round * 64 + i);
				pc_put(&f.pc, r[i].data, model +
				    todo[i].sector * 512, todo[i].n * 512);
			}
			submit(&f, &r[i], todo[i].op, todo[i].sector,
			    todo[i].n * 512, 1 + (unsigned)rand_r(&seed) % 4096
			    + todo[i].n * 10, true);
			if (rand_r(&seed) % 4 == 0)
				drv_kick(&f.d, 0);
		}
		drv_kick(&f.d, 0);
		for (j = 0; j < 64; j++) {
			assert_true(drv_get(&f.d, 0, &head, NULL, true));
			for (slot = 0; r[slot].head != head; slot++)
				assert_true(slot < 63);
			assert_int_equal(f.pc.ram[r[slot].status], 0);
			if (todo[slot].op == OP_IN)
				assert_memory_equal(f.pc.ram + r[slot].data,
				    model + todo[slot].sector * 512,
				    todo[slot].n * 512);
		}
	}
	assert_int_equal(pread(f.fd, back, sizeof(back), 0), sizeof(back));
	assert_memory_equal(back, model, sizeof(model));
	end(&f);
}

/* After a reset nothing comes any more, and it can be begun anew. */
static void
test_reset_in_flight(void **state)
{
	struct request r = { 0 };
	struct fixture f;
	unsigned round, i;
	uint16_t head;
	uint64_t brk;

	(void)state;
	begin(&f, true, 0);
	brk = f.pc.brk;
	for (round = 0; round < 100; round++) {
		f.pc.brk = brk;
		drv_up(&f.d, 0, 1);
		memset(&r, 0, sizeof(r));
		for (i = 0; i < 20; i++)
			submit(&f, &r, i % 2 ? OP_IN : OP_OUT, i, 512, 512,
			    false);
		drv_kick(&f.d, 0);
		drv_set_status(&f.d, 0);
		assert_int_equal(atomic_load(&f.pc.level), 0);
		pc_fill(&f.pc, f.d.q[0].used, 0, 6);
		pc_fill(&f.pc, r.header, 0x55, 16 + 512 + 1);
		assert_false(drv_get(&f.d, 0, &head, NULL, false));
		for (i = 0; i < 16 + 512 + 1; i++)
			assert_int_equal(f.pc.ram[r.header + i], 0x55);
	}
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_reset_in_flight),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
