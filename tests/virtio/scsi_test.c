/*
 * The CD-ROM drive: its commands one by one; requests through both windows of
 * the adapter, cut in any way, many at once; units and targets that are not
 * there; random commands; a disc that comes out; reset with reads in flight.
 */
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

#include "machine/scsi_cd.h"
#include "machine/virtio_scsi.h"
#include "storage/disk.h"
#include "../lib/virtdrv.h"

#define BLOCKS		512u
#define BLOCK		2048u
#define REQUEST		51u		/* bytes of a request's head */
#define RESPONSE	108u

/* --- the drive by itself -------------------------------------------------- */

static struct scsi_cd cd;
static struct scsi_answer answer;

static int
drive_setup(void **state)
{
	char serial[20] = "0123456789abcdefghij";

	(void)state;
	scsi_cd_init(&cd, (uint64_t)BLOCKS * BLOCK, serial);
	return (0);
}

/* Carries out a command given as hexadecimal digits. */
static void
command(unsigned lun, const char *hex)
{
	uint8_t cdb[SCSI_CDB_MAX] = { 0 };
	unsigned i, v;

	for (i = 0; hex[2 * i] != '\0'; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		cdb[i] = (uint8_t)v;
	}
	scsi_cd_command(&cd, lun, cdb, &answer);
}

static void
gives(const char *hex, const void *data, size_t len)
{
	command(0, hex);
	assert_int_equal(answer.sa_status, SCSI_GOOD);
	assert_int_equal(answer.sa_len, len);
	assert_int_equal(answer.sa_length, 0);
	assert_memory_equal(answer.sa_data, data, len);
}

static void
fails(unsigned lun, const char *hex, uint8_t key, uint8_t asc, uint8_t ascq)
{
	command(lun, hex);
	assert_int_equal(answer.sa_status, SCSI_CHECK_CONDITION);
	assert_int_equal(answer.sa_len, 0);
	assert_int_equal(answer.sa_length, 0);
	assert_int_equal(answer.sa_sense[0], 0x70);
	assert_int_equal(answer.sa_sense[2], key);
	assert_int_equal(answer.sa_sense[12], asc);
	assert_int_equal(answer.sa_sense[13], ascq);
}

static void
test_identity(void **state)
{
	(void)state;
	gives("120000002400", "\x05\x80\x05\x02\x1f\0\0\0VMM     "
	    "CD-ROM          1   ", 36);
	gives("120000000500", "\x05\x80\x05\x02\x1f", 5);
	gives("120100002400", "\x05\0\0\x03\0\x80\x83", 7);
	gives("120180002400", "\x05\x80\0\x14" "0123456789abcdefghij", 24);
	gives("12018300ff00", "\x05\x83\0\x20\x02\x01\0\x1cVMM     "
	    "0123456789abcdefghij", 36);
	fails(0, "1201b0002400", 5, 0x24, 0);
	fails(0, "120080002400", 5, 0x24, 0);
	gives("a00000000000000000100000", "\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0",
	    16);
	gives("030000001200", "\x70\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0", 18);
	fails(0, "ff0000000000", 5, 0x20, 0);
	fails(0, "2a0000000000000001", 5, 0x20, 0);	/* WRITE(10) */

	command(3, "120000002400");			/* no such unit */
	assert_int_equal(answer.sa_data[0], 0x7f);
	fails(3, "000000000000", 5, 0x25, 0);
}

static void
test_disc(void **state)
{
	(void)state;
	gives("000000000000", "", 0);
	gives("25000000000000000000", "\0\0\x01\xff\0\0\x08\0", 8);
	gives("43000000000001010000", "\0\x12\x01\x01"
	    "\0\x14\x01\0\0\0\0\0" "\0\x14\xaa\0\0\0\x02\0", 20);
	/* minutes, seconds, frames: 512 blocks and two seconds are 8:62 */
	gives("430200000000aa001400", "\0\x0a\x01\x01"
	    "\0\x14\xaa\0\0\0\x08\x3e", 12);
	gives("430001000000000c00", "\0\x0a\x01\x01"
	    "\0\x14\x01\0\0\0\0\0", 12);
	fails(0, "43000000000002001400", 5, 0x24, 0);

	command(0, "28000000001000000200");
	assert_int_equal(answer.sa_offset, 0x10 * BLOCK);
	assert_int_equal(answer.sa_length, 2 * BLOCK);
	command(0, "080001ff0100");
	assert_int_equal(answer.sa_offset, 0x1ff * BLOCK);
	assert_int_equal(answer.sa_length, BLOCK);
	command(0, "080000000000");			/* 0 means 256 */
	assert_int_equal(answer.sa_length, 256 * BLOCK);
	command(0, "a80000000000000002000000");
	assert_int_equal(answer.sa_length, BLOCKS * BLOCK);
	fails(0, "28000000020000000100", 5, 0x21, 0);
	fails(0, "2800000001ff00000200", 5, 0x21, 0);
	fails(0, "a8ffffffffffffffffff0000", 5, 0x21, 0);
	fails(0, "2b000000020000000000", 5, 0x21, 0);
	gives("28000000020000000000", "", 0);		/* nothing, at the end */
}

static void
test_tray(void **state)
{
	(void)state;
	gives("4a010000100000000800", "\0\x06\x04\x10\0\x02\0\0", 8);
	gives("1e0000000100", "", 0);
	fails(0, "1b0000000200", 5, 0x53, 2);		/* locked */
	gives("1e0000000000", "", 0);
	gives("1b0000000200", "", 0);
	fails(0, "000000000000", 2, 0x3a, 0);
	fails(0, "28000000000000000100", 2, 0x3a, 0);
	gives("4a010000100000000800", "\0\x06\x04\x10\0\x01\0\0", 8);
	gives("bd0000000000000000080000", "\0\x10\0\0\0\0\0\0", 8);
	gives("1b0000000300", "", 0);
	gives("000000000000", "", 0);
	fails(0, "4a000000100000000800", 5, 0x24, 0);	/* by interrupt */
}

static void
test_modes(void **state)
{
	(void)state;
	command(0, "5a002a00000000008000");
	assert_int_equal(answer.sa_len, 8 + 22);
	assert_int_equal(answer.sa_data[1], 28);
	assert_memory_equal(answer.sa_data + 8, "\x2a\x14\x03", 3);
	command(0, "1a003f00ff00");
	assert_int_equal(answer.sa_len, 4 + 12 + 22);
	assert_int_equal(answer.sa_data[0], 37);
	command(0, "1a006a00ff00");			/* changeable */
	assert_int_equal(answer.sa_data[4 + 2], 0);
	fails(0, "1a000d00ff00", 5, 0x24, 0);

	command(0, "46000000000000008000");
	assert_int_equal(answer.sa_data[3], answer.sa_len - 4);
	assert_int_equal(answer.sa_data[7], 0x08);	/* CD-ROM is current */
	command(0, "4602001e000000008000");
	assert_memory_equal(answer.sa_data + 8, "\0\x1e\x09\x04", 4);
	assert_int_equal(answer.sa_len, 16);
	cd.cd_blocks = 2000000;
	command(0, "46000000000000008000");
	assert_int_equal(answer.sa_data[7], 0x10);	/* DVD-ROM */
}

/* Whatever is asked, the answer is bounded and in order. */
static void
test_random_commands(void **state)
{
	unsigned seed = (unsigned)time(NULL), i, k;
	uint8_t cdb[SCSI_CDB_MAX];

	(void)state;
	print_message("seed %u\n", seed);
	srandom(seed);
	for (i = 0; i < 500000; i++) {
		for (k = 0; k < sizeof(cdb); k++)
			cdb[k] = (uint8_t)(random() & 1 ? random() : 0);
		scsi_cd_command(&cd, random() & 1, cdb, &answer);
		assert_true(answer.sa_len <= SCSI_DATA_MAX);
		assert_true(answer.sa_offset % BLOCK == 0);
		assert_true(answer.sa_offset + answer.sa_length <=
		    (uint64_t)BLOCKS * BLOCK);
		if (answer.sa_status != SCSI_GOOD)
			assert_true(answer.sa_len == 0 &&
			    answer.sa_length == 0 &&
			    answer.sa_sense[0] == 0x70);
	}
}

/* --- behind the adapter --------------------------------------------------- */

struct fixture {
	struct fake_pc	 pc;
	struct disk	*disk;
	struct virtio_scsi *scsi;
	struct drv	 d;
	char		 path[64];
	uint8_t		*image;
};

static void
begin(struct fixture *f, bool modern)
{
	const size_t size = (size_t)BLOCKS * BLOCK;
	struct err err;
	size_t i;
	int fd;

	fake_pc_new(&f->pc, 16 << 20);
	snprintf(f->path, sizeof(f->path), "/tmp/vmm-scsi-test.XXXXXX");
	assert_int_not_equal(fd = mkstemp(f->path), -1);
	assert_non_null(f->image = malloc(size));
	for (i = 0; i < size; i++)
		f->image[i] = (uint8_t)(i / BLOCK * 7 + i % BLOCK * 13);
	assert_int_equal(write(fd, f->image, size), size);
	close(fd);
	if (disk_open(&f->disk, f->path, DISK_RDONLY, &err) == -1)
		fail_msg("%s", err.e_text);
	assert_int_equal(virtio_scsi_new(&f->scsi, f->disk, &f->pc.gm,
	    f->pc.pci, &f->pc.irq), 0);
	fake_pc_start(&f->pc);
	drv_attach(&f->d, &f->pc, 1, modern);
	drv_up(&f->d, modern ? F_VERSION_1 : 0, 3);
}

static void
end(struct fixture *f)
{
	virtio_scsi_free(f->scsi);
	disk_close(f->disk);
	assert_true(fake_pc_check(&f->pc));
	fake_pc_free(&f->pc);
	unlink(f->path);
	free(f->image);
}

struct request {
	uint64_t	 head, response;	/* data follows the latter */
	uint16_t	 chain;
};

/* Makes READ(10) available, in buffers of at most `cut` bytes. */
static void
submit(struct fixture *f, struct request *r, unsigned target, unsigned block,
    unsigned count, uint32_t room, uint32_t cut)
{
	uint8_t h[REQUEST] = { 1, (uint8_t)target, 0x40, 0 };
	uint32_t done, n, total[2] = { REQUEST, RESPONSE + room };
	struct seg seg[250];
	unsigned i, ns = 0;

	h[19] = 0x28;
	h[19 + 4] = (uint8_t)(block >> 8);
	h[19 + 5] = (uint8_t)block;
	h[19 + 8] = (uint8_t)count;
	r->head = pc_alloc(&f->pc, REQUEST, 1);
	r->response = pc_alloc(&f->pc, RESPONSE + room, 1);
	pc_put(&f->pc, r->head, h, sizeof(h));
	pc_fill(&f->pc, r->response, 0xee, RESPONSE + room);
	for (i = 0; i < 2; i++)
		for (done = 0; done < total[i]; done += n) {
			n = total[i] - done < cut ? total[i] - done : cut;
			assert_true(ns < 250);
			seg[ns++] = (struct seg){ (i == 0 ? r->head :
			    r->response) + done, n, i == 1 };
		}
	r->chain = drv_add(&f->d, 2, seg, ns, false);
}

static void
finish(struct fixture *f, struct request *r, unsigned block, unsigned count,
    uint32_t room)
{
	const uint8_t *p = f->pc.ram + r->response;
	uint32_t residual;
	uint32_t len;
	uint16_t head;

	assert_true(drv_get(&f->d, 2, &head, &len, true));
	assert_int_equal(head, r->chain);
	assert_int_equal(len, RESPONSE + count * BLOCK);
	memcpy(&residual, p + 4, 4);
	assert_int_equal(residual, room - count * BLOCK);
	assert_int_equal(p[10], SCSI_GOOD);
	assert_int_equal(p[11], 0);
	assert_memory_equal(p + RESPONSE, f->image + block * BLOCK,
	    count * BLOCK);
	if (room > count * BLOCK)
		assert_int_equal(p[RESPONSE + count * BLOCK], 0xee);
}

static void
reads(bool modern)
{
	static const uint32_t cuts[] = { 1u << 20, 4096, 2048, 777, 107 };
	struct request r;
	struct fixture f;
	unsigned i;

	begin(&f, modern);
	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		submit(&f, &r, 0, 17 + i, 4, 4 * BLOCK + 99, cuts[i]);
		drv_kick(&f.d, 2);
		finish(&f, &r, 17 + i, 4, 4 * BLOCK + 99);
	}
	end(&f);
}

static void
test_reads_modern(void **state)
{
	(void)state;
	reads(true);
}

static void
test_reads_legacy(void **state)
{
	(void)state;
	reads(false);
}

static void
test_errors(void **state)
{
	struct request r;
	struct fixture f;
	const uint8_t *p;
	uint32_t len;
	uint16_t head;

	(void)state;
	begin(&f, true);
	/* another target */
	submit(&f, &r, 1, 0, 1, BLOCK, 4096);
	drv_kick(&f.d, 2);
	assert_true(drv_get(&f.d, 2, &head, &len, true));
	assert_int_equal(len, RESPONSE);
	assert_int_equal(f.pc.ram[r.response + 11], 3);
	/* beyond the end: sense */
	submit(&f, &r, 0, BLOCKS, 1, BLOCK, 4096);
	drv_kick(&f.d, 2);
	assert_true(drv_get(&f.d, 2, &head, &len, true));
	p = f.pc.ram + r.response;
	assert_int_equal(len, RESPONSE);
	assert_int_equal(p[0], SCSI_SENSE_SIZE);
	assert_int_equal(p[10], SCSI_CHECK_CONDITION);
	assert_int_equal(p[11], 0);
	assert_memory_equal(p + 12, "\x70\0\x05", 3);
	assert_int_equal(p[12 + 12], 0x21);
	/* no room for what is asked: an overrun */
	submit(&f, &r, 0, 0, 2, 2 * BLOCK - 1, 4096);
	drv_kick(&f.d, 2);
	assert_true(drv_get(&f.d, 2, &head, &len, true));
	assert_int_equal(len, RESPONSE);
	assert_int_equal(f.pc.ram[r.response + 11], 1);
	assert_false(drv_broken(&f.d));
	end(&f);
}

/* All of them at once, and reset before they are all back. */
static void
test_many(void **state)
{
	struct request r[16];
	struct fixture f;
	unsigned i, round;
	uint32_t len;
	uint16_t head;

	(void)state;
	begin(&f, true);
	for (round = 0; round < 8; round++) {
		for (i = 0; i < 16; i++)
			submit(&f, &r[i], 0, 16 * round + i, 1, BLOCK, 4096);
		drv_kick(&f.d, 2);
		for (i = 0; i < 16 && round < 7; i++)
			assert_true(drv_get(&f.d, 2, &head, &len, true));
	}
	virtio_scsi_reset(f.scsi);
	end(&f);
}

/* A task that is aborted has ended when the answer comes. */
static void
test_abort(void **state)
{
	const uint8_t abort_task[24] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x40 };
	struct request r;
	struct fixture f;
	struct seg seg[2];
	uint64_t at;
	uint32_t len;
	uint16_t head, control;

	(void)state;
	begin(&f, true);
	at = pc_alloc(&f.pc, 64, 8);
	pc_put(&f.pc, at, abort_task, sizeof(abort_task));
	pc_fill(&f.pc, at + 32, 0xee, 1);
	seg[0] = (struct seg){ at, sizeof(abort_task), false };
	seg[1] = (struct seg){ at + 32, 1, true };
	submit(&f, &r, 0, 0, 64, 64 * BLOCK, 4096);
	drv_kick(&f.d, 2);
	control = drv_add(&f.d, 0, seg, 2, false);
	drv_kick(&f.d, 0);
	assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(head, control);
	assert_int_equal(len, 1);
	assert_int_equal(f.pc.ram[at + 32], 0);
	finish(&f, &r, 0, 64, 64 * BLOCK);
	/* a request that is none breaks the device, no more */
	seg[0].len = 3;
	drv_add(&f.d, 0, seg, 2, false);
	drv_kick(&f.d, 0);
	assert_true(drv_broken(&f.d));
	end(&f);
}

int
main(void)
{
#define D(f)	cmocka_unit_test_setup(f, drive_setup)
	const struct CMUnitTest tests[] = {
		D(test_identity), D(test_disc), D(test_tray), D(test_modes),
		D(test_random_commands),
		cmocka_unit_test(test_reads_modern),
		cmocka_unit_test(test_reads_legacy),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_abort),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
