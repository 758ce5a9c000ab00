/*
 * virtio-net between a driver and a network that is a test's: headers of all
 * ages, merged receive buffers, checksums and segments left to the other side
 * or not, what is dropped, flow control.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "machine/virtio_net.h"
#include "network/backend.h"
#include "network/offload.h"
#include "../lib/virtdrv.h"

#define F_CSUM		(1ULL << 0)
#define F_GUEST_CSUM	(1ULL << 1)
#define F_MTU		(1ULL << 3)
#define F_MAC		(1ULL << 5)
#define F_GUEST_TSO4	(1ULL << 7)
#define F_GUEST_ECN	(1ULL << 9)
#define F_HOST_TSO4	(1ULL << 11)
#define F_HOST_TSO6	(1ULL << 12)
#define F_HOST_ECN	(1ULL << 13)
#define F_MRG		(1ULL << 15)
#define F_STATUS	(1ULL << 16)

static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 1, 2, 3 };

struct net {
	struct network	 network;	/* first */
	pthread_mutex_t	 lock;
	unsigned	 sent, poked;
	uint8_t		 last[NETWORK_FRAME_MAX];
	size_t		 last_len;
	struct network_header last_header;	/* zeros if there was none */
};

struct fixture {
	struct fake_pc	 pc;
	struct virtio_net *card;
	struct net	 net;
	struct loop	*loop;
	pthread_t	 thread;
	struct drv	 d;
	size_t		 header;
	const struct network_port *port;
	unsigned	 taken;		/* receive buffers that came back */
	/* work for the loop's thread */
	const struct network_header *nh;
	const uint8_t	*frame;
	size_t		 len;
	atomic_int	 answer;	/* -1: not yet */
};

static void
net_send(struct network *network, const struct network_header *nh,
    const void *frame, size_t len)
{
	struct net *n = (struct net *)network;

	pthread_mutex_lock(&n->lock);
	n->last_header = nh != NULL ? *nh : (struct network_header){ 0 };
	memcpy(n->last, frame, len);
	n->last_len = len;
	n->sent++;
	pthread_mutex_unlock(&n->lock);
}

static void
net_poke(struct network *network)
{
	struct net *n = (struct net *)network;

	pthread_mutex_lock(&n->lock);
	n->poked++;
	pthread_mutex_unlock(&n->lock);
}

static const struct network_ops net_ops = {
	.no_send = net_send,
	.no_poke = net_poke,
};

static unsigned
counted(struct fixture *f, unsigned *what)
{
	unsigned n;

	pthread_mutex_lock(&f->net.lock);
	n = *what;
	pthread_mutex_unlock(&f->net.lock);
	return (n);
}

static void
wait_count(struct fixture *f, unsigned *what, unsigned least)
{
	unsigned i;

	for (i = 0; counted(f, what) < least; i++) {
		assert_true(i < 100000);
		usleep(100);
	}
}

static void *
run_loop(void *arg)
{
	loop_run(arg);
	return (NULL);
}

static void
begin(struct fixture *f, bool modern, uint64_t features)
{
	memset(f, 0, sizeof(*f));
	fake_pc_new(&f->pc, 4 << 20);
	pthread_mutex_init(&f->net.lock, NULL);
	f->net.network.nw_ops = &net_ops;
	assert_non_null(f->loop = loop_new());
	assert_int_equal(virtio_net_new(&f->card, f->loop, mac, 1500,
	    &f->pc.gm, f->pc.pci, &f->pc.irq), 0);
	f->port = virtio_net_port(f->card);
	virtio_net_connect(f->card, &f->net.network);
	fake_pc_start(&f->pc);
	assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f->loop),
	    0);
	drv_attach(&f->d, &f->pc, 1, modern);
	drv_up(&f->d, features, 2);
	f->header = modern || (features & F_MRG) ? 12 : 10;
}

static void
end(struct fixture *f)
{
	loop_stop(f->loop);
	pthread_join(f->thread, NULL);
	assert_true(fake_pc_check(&f->pc));
	virtio_net_free(f->card);
	loop_free(f->loop);
	fake_pc_free(&f->pc);
}

static void
give(void *arg)
{
	struct fixture *f = arg;

	atomic_store(&f->answer, f->port->np_receive(f->port->np_arg, f->nh,
	    f->frame, f->len));
}

static void
ask(void *arg)
{
	struct fixture *f = arg;

	atomic_store(&f->answer, f->port->np_ready(f->port->np_arg));
}

static int
on_loop(struct fixture *f, void (*fn)(void *))
{
	unsigned i;

	atomic_store(&f->answer, -1);
	assert_int_equal(loop_post(f->loop, fn, f), 0);
	for (i = 0; atomic_load(&f->answer) == -1; i++) {
		assert_true(i < 100000);
		usleep(100);
	}
	return (atomic_load(&f->answer));
}

static bool
receive(struct fixture *f, const uint8_t *frame, size_t len)
{
	f->frame = frame;
	f->len = len;
	return (on_loop(f, give));
}

static bool
receive_with(struct fixture *f, const struct network_header *nh,
    const uint8_t *frame, size_t len)
{
	bool taken;

	f->nh = nh;
	taken = receive(f, frame, len);
	f->nh = NULL;
	return (taken);
}

static void
fill(uint8_t *p, size_t len, unsigned start)
{
	while (len-- > 0)
		*p++ = (uint8_t)(start++ * 7);
}

static void
transmit(struct fixture *f, size_t len, uint32_t cut, uint8_t gso)
{
	uint8_t data[2000] = { 0 };
	uint64_t at = pc_alloc(&f->pc, f->header + len, 1);
	uint32_t total = (uint32_t)(f->header + len), done, n;
	struct seg seg[200];
	unsigned i = 0;
	uint16_t head, got;

	assert_true(total <= sizeof(data));
	fill(data + f->header, len, (unsigned)len);
	data[1] = gso;
	pc_put(&f->pc, at, data, total);
	for (done = 0; done < total; done += n) {
		n = total - done < cut ? total - done : cut;
		seg[i++] = (struct seg){ at + done, n, false };
	}
	head = drv_add(&f->d, 1, seg, i, false);
	drv_kick(&f->d, 1);
	assert_true(drv_get(&f->d, 1, &got, &n, true));
	assert_int_equal(got, head);
	assert_int_equal(n, 0);
}

static void
transmits(bool modern, uint64_t features)
{
	static const uint32_t cuts[] = { 4000, 100, 13, 11 };
	uint8_t data[2000];
	struct fixture f;
	unsigned i;

	begin(&f, modern, features);
	for (i = 0; i < 4; i++) {
		transmit(&f, 60 + i * 400, cuts[i], 0);
		wait_count(&f, &f.net.sent, i + 1);
		assert_int_equal(f.net.last_len, 60 + i * 400);
		fill(data, f.net.last_len, 60 + i * 400);
		assert_memory_equal(f.net.last, data, f.net.last_len);
	}
	/* no frames: too short; asking for what was not agreed on */
	transmit(&f, 13, 100, 0);
	transmit(&f, 100, 100, 1);
	transmit(&f, 14, 100, 0);
	wait_count(&f, &f.net.sent, 5);
	assert_int_equal(f.net.last_len, 14);
	assert_false(drv_broken(&f.d));
	end(&f);
}

static void
test_transmit(void **state)
{
	(void)state;
	transmits(false, 0);
	transmits(false, F_MRG);
	transmits(true, F_MRG | F_EVENT_IDX);
	transmits(true, 0);
}

/* More at once than the loop takes in a row. */
static void
test_burst(void **state)
{
	struct fixture f;
	struct seg seg;
	unsigned i;
	uint16_t head;

	(void)state;
	begin(&f, true, F_EVENT_IDX);
	seg = (struct seg){ pc_alloc(&f.pc, 200, 1), 200, false };
	for (i = 0; i < 256; i++)
		drv_add(&f.d, 1, &seg, 1, false);
	drv_kick(&f.d, 1);
	for (i = 0; i < 256; i++)
		assert_true(drv_get(&f.d, 1, &head, NULL, true));
	wait_count(&f, &f.net.sent, 256);
	end(&f);
}

static void
receives(bool modern, uint64_t features)
{
	uint8_t frame[1514], buf[12];
	struct fixture f;
	uint64_t at[8];
	struct seg seg[2];
	uint32_t len;
	unsigned i;
	uint16_t head;

	begin(&f, modern, features);
	fill(frame, sizeof(frame), 3);
	for (i = 0; i < 8; i++) {
		at[i] = pc_alloc(&f.pc, 2000, 1);
		pc_fill(&f.pc, at[i], 0xee, 2000);
		/* the header apart, as old drivers have it */
		seg[0] = (struct seg){ at[i], (uint32_t)f.header, true };
		seg[1] = (struct seg){ at[i] + f.header, 1514, true };
		drv_add(&f.d, 0, seg, 2, false);
	}
	drv_kick(&f.d, 0);
	for (i = 0; i < 8; i++) {
		assert_true(receive(&f, frame, 60 + i * 200));
		assert_true(drv_get(&f.d, 0, &head, &len, true));
		assert_int_equal(len, f.header + 60 + i * 200);
		memset(buf, 0, sizeof(buf));
		buf[10] = 1;	/* num_buffers */
		assert_memory_equal(f.pc.ram + at[i], buf, f.header);
		assert_memory_equal(f.pc.ram + at[i] + f.header, frame,
		    60 + i * 200);
		assert_int_equal(f.pc.ram[at[i] + len], 0xee);
	}
	/* none left */
	assert_false(receive(&f, frame, 60));
	assert_false(on_loop(&f, ask));
	/* no frames at all */
	drv_add(&f.d, 0, seg, 2, false);
	assert_false(receive(&f, frame, 13));
	assert_true(on_loop(&f, ask));
	end(&f);
}

static void
test_receive(void **state)
{
	(void)state;
	receives(false, 0);
	receives(false, F_MRG);
	receives(true, 0);
	receives(true, F_MRG | F_EVENT_IDX);
}

static void
merges(uint64_t features)
{
	uint8_t frame[9000], got[9012], buf[12] = { 0 };
	struct seg seg;
	struct fixture f;
	uint16_t head;
	uint32_t len;
	uint64_t at;
	size_t done;
	unsigned i, poked;

	begin(&f, true, F_MRG | features);
	fill(frame, sizeof(frame), 9);
	at = pc_alloc(&f.pc, 1000 * 20, 1);
	for (i = 0; i < 20; i++) {
		seg = (struct seg){ at + 1000 * i, 1000, true };
		drv_add(&f.d, 0, &seg, 1, false);
	}
	assert_true(receive(&f, frame, 9000));
	for (done = 0, i = 0; done < 9012; i++, done += len) {
		assert_true(drv_get(&f.d, 0, &head, &len, i == 0));
		memcpy(got + done, f.pc.ram + at + 1000 * i, len);
	}
	assert_int_equal(i, 10);
	buf[10] = 10;
	assert_memory_equal(got, buf, 12);
	assert_memory_equal(got + 12, frame, 9000);
	/* an exact fit takes no further buffer */
	assert_true(receive(&f, frame, 988));
	assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(len, 1000);
	assert_false(drv_get(&f.d, 0, &head, &len, false));
	/* 9 are left: this one waits for one more, and what comes after it */
	assert_true(receive(&f, frame, 9000));
	assert_false(drv_get(&f.d, 0, &head, &len, false));
	assert_false(on_loop(&f, ask));
	assert_false(receive(&f, frame, 100));
	drv_add(&f.d, 0, &seg, 1, false);
	drv_kick(&f.d, 0);
	for (i = 0; i < 10; i++)
		assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(len, 12);
	assert_false(on_loop(&f, ask));		/* by its end it is done */
	assert_false(receive(&f, frame, 100));
	/* it took what there was: only now the network hears of room */
	poked = counted(&f, &f.net.poked);
	drv_add(&f.d, 0, &seg, 1, false);
	drv_kick(&f.d, 0);
	wait_count(&f, &f.net.poked, poked + 1);
	assert_true(receive(&f, frame, 100));
	assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(len, 112);
	assert_false(drv_broken(&f.d));
	end(&f);
}

static void
test_merge(void **state)
{
	(void)state;
	merges(F_INDIRECT);
	merges(F_EVENT_IDX);
}

/* All the buffers there can be are too few: it waits for none. A reset ends
 * the wait. */
static void
test_never(void **state)
{
	static uint8_t frame[65000];
	struct fixture f;
	struct seg seg;
	uint16_t head;
	uint32_t len;
	unsigned i;

	(void)state;
	begin(&f, true, F_MRG | F_EVENT_IDX);
	for (i = 0; i < 256; i++) {
		seg = (struct seg){ pc_alloc(&f.pc, 100, 1), 100, true };
		drv_add(&f.d, 0, &seg, 1, false);
	}
	assert_false(receive(&f, frame, sizeof(frame)));
	assert_true(receive(&f, frame, 88));
	assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(len, 100);
	assert_true(receive(&f, frame, 256 * 100 - 12));
	assert_false(on_loop(&f, ask));
	drv_up(&f.d, F_MRG | F_EVENT_IDX, 2);
	drv_add(&f.d, 0, &seg, 1, false);
	assert_true(on_loop(&f, ask));
	assert_true(receive(&f, frame, 77));
	assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(len, 89);
	assert_false(drv_broken(&f.d));
	end(&f);
}

/* Without merging a frame must fit. */
static void
test_too_small(void **state)
{
	uint8_t frame[1514] = { 0 };
	struct fixture f;
	struct seg seg;
	uint16_t head;
	uint32_t len;

	(void)state;
	begin(&f, true, 0);
	seg = (struct seg){ pc_alloc(&f.pc, 112, 1), 112, true };
	drv_add(&f.d, 0, &seg, 1, false);
	assert_false(receive(&f, frame, 101));
	assert_true(receive(&f, frame, 100));
	assert_true(drv_get(&f.d, 0, &head, &len, true));
	assert_int_equal(len, 112);
	/* not even a header */
	seg.len = 11;
	drv_add(&f.d, 0, &seg, 1, false);
	assert_false(receive(&f, frame, 60));
	assert_true(drv_broken(&f.d));
	end(&f);
}

/* The network hears of new buffers after it met none. */
static void
test_poke(void **state)
{
	uint8_t frame[60] = { 0 };
	struct fixture f;
	struct seg seg;
	unsigned i, poked;
	uint16_t head;

	(void)state;
	begin(&f, true, F_EVENT_IDX);
	seg = (struct seg){ pc_alloc(&f.pc, 112, 1), 112, true };
	for (i = 0; i < 300; i++) {
		assert_false(on_loop(&f, ask));
		poked = counted(&f, &f.net.poked);
		drv_add(&f.d, 0, &seg, 1, false);
		/* avail_event wants to hear of this one */
		memcpy(&head, f.pc.ram + f.d.q[0].used + 4 + 8 * 256, 2);
		assert_int_equal(head, (uint16_t)(f.d.q[0].avail_idx - 1));
		drv_kick(&f.d, 0);
		wait_count(&f, &f.net.poked, poked + 1);
		assert_true(on_loop(&f, ask));
		assert_true(receive(&f, frame, 60));
		assert_true(drv_get(&f.d, 0, &head, NULL, true));
	}
	end(&f);
}

/* --- what is left to the other side ------------------------------------------- */

#define TCP_PAYLOAD	(14 + 20 + 20)

/* A TCP packet with that much data, whose checksum is still to be made. */
static size_t
tcp_packet(uint8_t *frame, size_t data, struct network_header *nh)
{
	const size_t len = TCP_PAYLOAD + data, tcp = len - 34;
	uint16_t sum;

	memset(frame, 0, TCP_PAYLOAD);
	fill(frame + TCP_PAYLOAD, data, 1);
	memcpy(frame, mac, 6);
	frame[6] = 2;
	frame[12] = 8;
	frame[14] = 0x45;
	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	frame[23] = 6;
	frame[26] = frame[30] = 10;
	frame[46] = 0x50;
	frame[47] = 0x88;	/* CWR, PSH */
	frame[50] = (uint8_t)(tcp >> 8);
	frame[51] = (uint8_t)tcp;
	sum = (uint16_t)~offload_fold(offload_sum(frame + 26, 8,
	    offload_sum("\0\6", 2, offload_sum(frame + 50, 2, 0))));
	memcpy(frame + 50, &sum, 2);
	*nh = (struct network_header){ .nh_flags = NETWORK_NEEDS_CSUM,
		.nh_csum_start = 34, .nh_csum_offset = 16 };
	return (len);
}

/* Its checksum has been made. */
static bool
tcp_right(const uint8_t *frame, size_t len)
{
	uint8_t pseudo[12] = { [9] = 6, [10] = (uint8_t)((len - 34) >> 8),
		[11] = (uint8_t)(len - 34) };

	memcpy(pseudo, frame + 26, 8);
	return (offload_fold(offload_sum(frame + 34, len - 34,
	    offload_sum(pseudo, 12, 0))) == 0);
}

/* The driver sends a frame in one piece. */
static void
transmit_with(struct fixture *f, const struct network_header *nh,
    const uint8_t *frame, size_t len)
{
	uint64_t at = pc_alloc(&f->pc, f->header + len, 1);
	struct seg seg = { at, (uint32_t)(f->header + len), false };
	uint16_t head, got;

	pc_fill(&f->pc, at, 0, f->header);
	pc_put(&f->pc, at, nh, sizeof(*nh));
	pc_put(&f->pc, at + f->header, frame, (uint32_t)len);
	head = drv_add(&f->d, 1, &seg, 1, false);
	drv_kick(&f->d, 1);
	assert_true(drv_get(&f->d, 1, &got, NULL, true));
	assert_int_equal(got, head);
}

static uint64_t
refused(struct fixture *f)
{
	struct virtio_net_counts counts;

	virtio_net_count(f->card, &counts);
	return (counts.vc_refused);
}

static void
test_transmit_offloads(void **state)
{
	static const struct {
		uint64_t features;
		uint8_t	 gso;
		uint16_t gso_size;
		bool	 passes;
	} rows[] = {
		{ 0,				0,	0,	false },
		{ F_HOST_TSO4,			1,	1448,	false },
		{ F_CSUM,			0,	0,	true },
		{ F_CSUM,			1,	1448,	false },
		{ F_CSUM | F_HOST_TSO4,		0,	0,	true },
		{ F_CSUM | F_HOST_TSO4,		1,	1448,	true },
		{ F_CSUM | F_HOST_TSO4,		1,	0,	false },
		{ F_CSUM | F_HOST_TSO4,		0x81,	1448,	false },
		{ F_CSUM | F_HOST_TSO4,		4,	1448,	false },
		{ F_CSUM | F_HOST_TSO4,		3,	1448,	false },
		{ F_CSUM | F_HOST_TSO4 | F_HOST_TSO6, 4, 1448,	false },
		{ F_CSUM | F_HOST_TSO4 | F_HOST_ECN, 0x81, 1448, true },
	};
	static uint8_t frame[65549];
	struct network_header nh;
	struct fixture f;
	unsigned i;
	size_t len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(&f, true, F_MRG | rows[i].features);
		len = tcp_packet(frame, 65535 - 40, &nh);
		nh.nh_gso_type = rows[i].gso;
		nh.nh_gso_size = rows[i].gso_size;
		nh.nh_flags |= NETWORK_DATA_VALID | 0x40; /* not for us */
		nh.nh_hdr_len = 3;
		transmit_with(&f, &nh, frame, len);
		assert_int_equal(refused(&f), !rows[i].passes);
		if (rows[i].passes) {
			wait_count(&f, &f.net.sent, 1);
			nh.nh_flags = NETWORK_NEEDS_CSUM;
			assert_int_equal(f.net.last_len, len);
			assert_memory_equal(f.net.last, frame, len);
			assert_memory_equal(&f.net.last_header, &nh,
			    sizeof(nh));
		}
		/* a sum beyond the frame is never passed on */
		nh.nh_gso_type = 0;
		nh.nh_csum_start = 59;
		transmit_with(&f, &nh, frame, 60);
		assert_int_equal(refused(&f), 1 + !rows[i].passes);
		assert_int_equal(counted(&f, &f.net.sent), rows[i].passes);
		assert_false(drv_broken(&f.d));
		end(&f);
	}
}

/* Takes what the card has put into 4 KiB buffers; the frame's length. */
static size_t
take(struct fixture *f, uint64_t at, struct network_header *nh,
    uint8_t *frame)
{
	unsigned i, n;
	size_t done = 0;
	uint16_t head;
	uint32_t len;
	const uint8_t *p;

	assert_true(drv_get(&f->d, 0, &head, &len, true));
	p = f->pc.ram + at + 4096u * f->taken++;
	memcpy(nh, p, sizeof(*nh));
	n = p[10];
	p += f->header;
	len -= (uint32_t)f->header;
	for (i = 1;; i++) {
		memcpy(frame + done, p, len);
		done += len;
		if (i == n)
			return (done);
		assert_true(drv_get(&f->d, 0, &head, &len, false));
		p = f->pc.ram + at + 4096u * f->taken++;
	}
}

static void
test_receive_offloads(void **state)
{
	static const struct {
		uint64_t features;
		uint8_t	 gso;
		bool	 sum, large;	/* comes as it is */
	} rows[] = {
		{ 0,					1,	false, false },
		{ F_GUEST_CSUM,				1,	true, false },
		{ F_GUEST_TSO4,				1,	false, false },
		{ F_GUEST_CSUM | F_GUEST_TSO4,		1,	true, true },
		{ F_GUEST_CSUM | F_GUEST_TSO4,		0x81,	true, false },
		{ F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_ECN,
							0x81,	true, true },
	};
	static uint8_t frame[10000], got[65536];
	struct network_header nh, h;
	struct fixture f;
	struct seg seg;
	uint64_t at;
	unsigned i, k;
	size_t len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(&f, true, F_MRG | F_MTU | rows[i].features);
		at = pc_alloc(&f.pc, 4096 * 20, 4096);
		for (k = 0; k < 20; k++) {
			seg = (struct seg){ at + 4096 * k, 4096, true };
			drv_add(&f.d, 0, &seg, 1, false);
		}
		/* a small one */
		len = tcp_packet(frame, 333, &nh);
		assert_true(receive_with(&f, &nh, frame, len));
		assert_int_equal(take(&f, at, &h, got), len);
		assert_int_equal(h.nh_flags, rows[i].sum ?
		    NETWORK_NEEDS_CSUM : 0);
		if (rows[i].sum)
			assert_memory_equal(got, frame, len);
		assert_int_equal(tcp_right(got, len), !rows[i].sum);
		/* one whose sum is right */
		nh = (struct network_header){
			.nh_flags = NETWORK_DATA_VALID };
		assert_true(receive_with(&f, &nh, frame, len));
		assert_int_equal(take(&f, at, &h, got), len);
		assert_int_equal(h.nh_flags, rows[i].sum ?
		    NETWORK_DATA_VALID : 0);
		assert_memory_equal(got, frame, len);
		/* a large one: six and a half segments */
		len = tcp_packet(frame, 1460 * 6 + 730, &nh);
		nh.nh_gso_type = rows[i].gso;
		nh.nh_gso_size = 1460;
		assert_true(receive_with(&f, &nh, frame, len));
		if (rows[i].large) {
			assert_int_equal(take(&f, at, &h, got), len);
			assert_memory_equal(got, frame, len);
			nh.nh_hdr_len = TCP_PAYLOAD;
			assert_memory_equal(&h, &nh, sizeof(h));
			end(&f);
			continue;
		}
		for (k = 0; k < 7; k++) {
			assert_int_equal(take(&f, at, &h, got), TCP_PAYLOAD +
			    (k < 6 ? 1460 : 730));
			assert_true(tcp_right(got, TCP_PAYLOAD +
			    (k < 6 ? 1460 : 730)));
			assert_memory_equal(got + TCP_PAYLOAD, frame +
			    TCP_PAYLOAD + 1460 * k, k < 6 ? 1460 : 730);
			assert_int_equal(h.nh_flags, rows[i].sum ?
			    NETWORK_DATA_VALID : 0);
			assert_int_equal(h.nh_gso_type, 0);
		}
		end(&f);
	}
}

/* A packet is being cut when there are no more buffers. */
static void
test_cut_waits(void **state)
{
	static uint8_t frame[10000], got[65536];
	struct network_header nh, h;
	struct fixture f;
	struct seg seg;
	uint64_t at;
	unsigned i, k;
	size_t len;

	(void)state;
	for (i = 0; i < 2; i++) {
		begin(&f, true, F_MRG | (i == 0 ? F_EVENT_IDX : 0));
		at = pc_alloc(&f.pc, 4096 * 8, 4096);
		len = tcp_packet(frame, 1460 * 6 + 730, &nh);
		nh.nh_gso_type = NETWORK_GSO_TCPV4;
		nh.nh_gso_size = 1460;
		for (k = 0; k < 7; k++) {
			seg = (struct seg){ at + 4096 * k, 4096, true };
			drv_add(&f.d, 0, &seg, 1, false);
			if (k == 1) {
				assert_true(receive_with(&f, &nh, frame, len));
				memset(frame, 0, sizeof(frame));
				assert_int_equal(take(&f, at, &h, got),
				    TCP_PAYLOAD + 1460);
			}
			if (k >= 1) {
				drv_kick(&f.d, 0);
				len = take(&f, at, &h, got);
				assert_int_equal(len, TCP_PAYLOAD +
				    (k < 6 ? 1460 : 730));
				assert_true(tcp_right(got, len));
				assert_int_equal(got[len - 1], (uint8_t)
				    ((k * 1460 + len - TCP_PAYLOAD) * 7));
			}
		}
		assert_false(on_loop(&f, ask));
		assert_true(counted(&f, &f.net.poked) <= 2);
		end(&f);
	}
}

/* What is larger than the driver was told of does not come to it. */
static void
test_mtu(void **state)
{
	static uint8_t frame[10000], got[65536];
	struct virtio_net_counts counts;
	struct network_header nh, h;
	struct fixture f;
	struct seg seg;
	uint64_t at;
	unsigned i;
	size_t len;

	(void)state;
	begin(&f, true, F_MRG | F_MTU | F_GUEST_CSUM | F_GUEST_TSO4);
	at = pc_alloc(&f.pc, 4096 * 8, 4096);
	for (i = 0; i < 8; i++) {
		seg = (struct seg){ at + 4096 * i, 4096, true };
		drv_add(&f.d, 0, &seg, 1, false);
	}
	assert_true(receive(&f, frame, 1514));
	assert_int_equal(take(&f, at, &h, got), 1514);
	assert_false(receive(&f, frame, 1515));
	frame[12] = 0x81;	/* tagged */
	assert_true(receive(&f, frame, 1518));
	assert_int_equal(take(&f, at, &h, got), 1518);
	assert_false(receive(&f, frame, 1519));
	len = tcp_packet(frame, 5000, &nh);
	nh.nh_gso_type = NETWORK_GSO_TCPV4;
	nh.nh_gso_size = 1460;
	assert_true(receive_with(&f, &nh, frame, len));
	assert_int_equal(take(&f, at, &h, got), len);
	nh.nh_gso_size = 1461;
	assert_false(receive_with(&f, &nh, frame, len));
	virtio_net_count(f.card, &counts);
	assert_int_equal(counts.vc_in, 3);
	assert_int_equal(counts.vc_lost, 3);
	end(&f);
}

static void
test_config(void **state)
{
	uint8_t config[12];
	struct fixture f;
	uint64_t offered;

	(void)state;
	begin(&f, true, F_MAC | F_STATUS);
	assert_int_equal(pc_config_read(&f.pc, 1, 2, 2), 0x1000);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x2e, 2), 1);
	offered = drv_offered(&f.d);
	assert_int_equal(offered & (F_MAC | F_MRG | F_STATUS | F_MTU),
	    F_MAC | F_MRG | F_STATUS | F_MTU);
	drv_config(&f.d, 0, config, 8);
	assert_memory_equal(config, mac, 6);
	assert_int_equal(config[6], 1);
	drv_config(&f.d, 0, config, 12);
	assert_int_equal(config[10] | config[11] << 8, 1500);
	/* only old drivers may give it another address */
	bus_write(f.pc.memory, f.d.device, 1, 0x02);
	bus_write(f.pc.ports, f.d.io + 20, 1, 0x02);
	drv_config(&f.d, 0, config, 8);
	assert_memory_equal(config, mac, 6);
	f.d.modern = false;
	drv_negotiate(&f.d, F_MAC);
	bus_write(f.pc.ports, f.d.io + 20, 4, 0x44332202);
	bus_write(f.pc.ports, f.d.io + 26, 1, 0);	/* not the status */
	drv_config(&f.d, 0, config, 8);
	assert_memory_equal(config, "\x02\x22\x33\x44\x02\x03\x01\0", 8);
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transmit),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_too_small),
		cmocka_unit_test(test_poke),
		cmocka_unit_test(test_transmit_offloads),
		cmocka_unit_test(test_receive_offloads),
		cmocka_unit_test(test_cut_waits),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_config),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
