/*
 * io NAME MILLISECONDS: a virtual machine's disks and network, as work(1) does
 * what needs neither: prints the nanoseconds of each time, how often, and 1 if
 * all that was read is what it has to be.
 *
 *	disk-DISK-seq|rand-read|write-DEPTH
 *		DISK is raw (/dev/vdb) or qcow2 (/dev/vdc). So many requests at
 *		a time, of 128 KiB one after the other or of 4 KiB anywhere,
 *		past the guest's cache. Each block of 4 KiB begins with its
 *		number. A time is a request.
 *	net-nat|switch-send|receive
 *		TCP with the host, whose port is bench.port= of the kernel's
 *		command line, or with the other machine at the switch. A time
 *		is a MiB.
 *	net-serve
 *		is that other machine. Never ends.
 *
 * Who connects says 8 bytes: milliseconds to be sent to for, or 0 to be heard;
 * who was heard is told how many bytes that were.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "work.h"

#define BLOCK		4096u
#define LONG		(128 * 1024u)	/* of a request one after the other */
#define DEPTH_MAX	64
#define CHUNK		(256 * 1024u)	/* of a connection's data */
#define MIB		(1024 * 1024.0)
#define SWITCH_PORT	5001
#define NAT_OWN		"10.0.2.15"
#define NAT_HOST	"10.0.2.2"
#define SWITCH_CLIENT	"10.20.0.1"
#define SWITCH_SERVER	"10.20.0.2"

void
work_fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

static int
answer(uint64_t took, double n, bool right)
{
	if (n == 0)
		return (1);
	printf("%.4f %llu %016x\n", (double)took / n,
	    (unsigned long long)n < 1 ? 1 : (unsigned long long)n, right);
	return (0);
}

/* --- disks ---------------------------------------------------------------------------- */

struct request {
	struct iocb	 r_iocb;	/* first: events name it */
	uint8_t		*r_data;
	uint64_t	 r_block;
};

struct disk {
	int		 d_fd;
	bool		 d_write, d_anywhere, d_right;
	uint64_t	 d_blocks;	/* of BLOCK */
	uint64_t	 d_next, d_seed;
	size_t		 d_size;	/* of a request */
	aio_context_t	 d_context;
	struct request	 d_requests[DEPTH_MAX];
};

static void
disk_submit(struct disk *d, struct request *r)
{
	struct iocb *one = &r->r_iocb;
	uint64_t number;
	size_t at;

	if (d->d_anywhere) {
		r->r_block = work_random(&d->d_seed) % d->d_blocks;
	} else {
		if (d->d_next + d->d_size / BLOCK > d->d_blocks)
			d->d_next = 0;
		r->r_block = d->d_next;
		d->d_next += d->d_size / BLOCK;
	}
	for (at = 0; at < d->d_size; at += BLOCK) {
		number = d->d_write ? r->r_block + at / BLOCK : UINT64_MAX;
		memcpy(r->r_data + at, &number, sizeof(number));
	}
	memset(one, 0, sizeof(*one));
	one->aio_fildes = (uint32_t)d->d_fd;
	one->aio_lio_opcode = d->d_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	one->aio_buf = (uint64_t)(uintptr_t)r->r_data;
	one->aio_nbytes = d->d_size;
	one->aio_offset = (int64_t)(r->r_block * BLOCK);
	one->aio_data = (uint64_t)(uintptr_t)r;
	if (syscall(SYS_io_submit, d->d_context, 1, &one) != 1)
		work_fail("io_submit");
}

static void
disk_done(struct disk *d, const struct io_event *ev)
{
	const struct request *r = (void *)(uintptr_t)ev->data;
	uint64_t number;
	size_t at;

	if (ev->res != (int64_t)d->d_size) {
		errno = ev->res < 0 ? (int)-ev->res : EIO;
		work_fail("a request");
	}
	for (at = 0; at < d->d_size; at += BLOCK) {
		memcpy(&number, r->r_data + at, sizeof(number));
		d->d_right &= number == r->r_block + at / BLOCK;
	}
}

/* Keeps depth requests under way for so long; returns how many were done. */
static uint64_t
disk_run(struct disk *d, unsigned depth, uint64_t length, uint64_t *took)
{
	struct io_event events[DEPTH_MAX];
	uint64_t begin = now(), done = 0;
	unsigned n, flying = 0;
	long got, i;

	for (n = 0; n < depth; n++, flying++)
		disk_submit(d, &d->d_requests[n]);
	while (flying > 0) {
		got = syscall(SYS_io_getevents, d->d_context, 1L,
		    (long)DEPTH_MAX, events, NULL);
		if (got < 1)
			work_fail("io_getevents");
		for (i = 0; i < got; i++) {
			disk_done(d, &events[i]);
			done++;
			if (now() - begin < length)
				disk_submit(d,
				    (void *)(uintptr_t)events[i].data);
			else
				flying--;
		}
	}
	*took = now() - begin;
	return (done);
}

static int
disk_main(const char *path, bool anywhere, bool writing, unsigned depth,
    uint64_t length)
{
	static struct disk d;
	uint64_t size, took, done;
	unsigned n;

	d.d_fd = open(path, O_RDWR | O_DIRECT);
	if (d.d_fd == -1 || ioctl(d.d_fd, BLKGETSIZE64, &size) == -1)
		work_fail(path);
	d.d_right = true;
	d.d_write = writing;
	d.d_anywhere = anywhere;
	d.d_seed = 88172645463325252u;
	d.d_size = anywhere ? BLOCK : LONG;
	d.d_blocks = size / BLOCK;
	if (syscall(SYS_io_setup, DEPTH_MAX, &d.d_context) == -1)
		work_fail("io_setup");
	for (n = 0; n < depth; n++)
		if ((d.d_requests[n].r_data = aligned_alloc(BLOCK,
		    d.d_size)) == NULL)
			work_fail("aligned_alloc");
	(void)disk_run(&d, depth, length / 8, &took);	/* warm */
	done = disk_run(&d, depth, length, &took);
	return (answer(took, (double)done, d.d_right));
}

/* --- networks --------------------------------------------------------------------------- */

static void
interface_up(const char *own)
{
	struct ifreq ifr = { .ifr_name = "eth0" };
	struct sockaddr_in *sin = (void *)&ifr.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	sin->sin_family = AF_INET;
	inet_pton(AF_INET, own, &sin->sin_addr);
	if (ioctl(fd, SIOCSIFADDR, &ifr) == -1)
		work_fail("SIOCSIFADDR");
	inet_pton(AF_INET, "255.255.255.0", &sin->sin_addr);
	if (ioctl(fd, SIOCSIFNETMASK, &ifr) == -1)
		work_fail("SIOCSIFNETMASK");
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) == -1)
		work_fail("SIOCSIFFLAGS");
	close(fd);
}

static uint64_t
send_for(int fd, uint64_t length)
{
	static uint8_t data[CHUNK];
	uint64_t begin = now(), n = 0;
	ssize_t sent;

	do {
		if ((sent = write(fd, data, sizeof(data))) < 0)
			work_fail("write");
		n += (uint64_t)sent;
	} while (now() - begin < length);
	(void)shutdown(fd, SHUT_WR);
	return (n);
}

static uint64_t
hear(int fd)
{
	static uint8_t data[CHUNK];
	uint64_t n = 0;
	ssize_t got;

	while ((got = read(fd, data, sizeof(data))) > 0)
		n += (uint64_t)got;
	if (got < 0)
		work_fail("read");
	return (n);
}

/* The port in bench.port=. */
static uint16_t
host_port(void)
{
	char line[4096], *at;
	FILE *f = fopen("/proc/cmdline", "r");

	if (f == NULL || fgets(line, sizeof(line), f) == NULL ||
	    (at = strstr(line, "bench.port=")) == NULL) {
		errno = ENOENT;
		work_fail("bench.port");
	}
	fclose(f);
	return ((uint16_t)atoi(at + strlen("bench.port=")));
}

static int
dial(const char *address, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
	    .sin_port = htons(port) };
	const struct timespec ts = { .tv_nsec = 100000000 };
	unsigned n;
	int fd;

	inet_pton(AF_INET, address, &sin.sin_addr);
	for (n = 0; n < 200; n++) {	/* the other one may not be up yet */
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (void *)&sin, sizeof(sin)) == 0)
			return (fd);
		close(fd);
		nanosleep(&ts, NULL);
	}
	work_fail(address);
	return (-1);
}

static int
net_main(bool nat, bool receiving, uint64_t length)
{
	uint64_t ask = receiving ? length / 1000000 : 0, begin, bytes,
	    said = 0;
	bool right;
	int fd;

	interface_up(nat ? NAT_OWN : SWITCH_CLIENT);
	fd = nat ? dial(NAT_HOST, host_port()) :
	    dial(SWITCH_SERVER, SWITCH_PORT);
	begin = now();
	if (write(fd, &ask, sizeof(ask)) != sizeof(ask))
		work_fail("write");
	if (receiving) {
		bytes = hear(fd);
		right = bytes > 0;
	} else {
		bytes = send_for(fd, length);
		right = read(fd, &said, sizeof(said)) == sizeof(said) &&
		    said == bytes;
	}
	return (answer(now() - begin, (double)bytes / MIB, right));
}

static int
serve_main(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
	    .sin_port = htons(SWITCH_PORT) };
	uint64_t ask;
	int fd, s = socket(AF_INET, SOCK_STREAM, 0);

	interface_up(SWITCH_SERVER);
	if (bind(s, (void *)&sin, sizeof(sin)) == -1 || listen(s, 1) == -1)
		work_fail("listen");
	while ((fd = accept(s, NULL, NULL)) != -1) {
		if (recv(fd, &ask, sizeof(ask), MSG_WAITALL) == sizeof(ask)) {
			if (ask != 0) {
				(void)send_for(fd, ask * 1000000);
			} else {
				ask = hear(fd);
				(void)!write(fd, &ask, sizeof(ask));
			}
		}
		close(fd);
	}
	work_fail("accept");
	return (1);
}

int
main(int argc, char **argv)
{
	char a[16], b[16], c[16];
	unsigned depth;
	uint64_t length;

	if (argc != 3) {
		fprintf(stderr, "usage: io name milliseconds\n");
		return (2);
	}
	length = strtoull(argv[2], NULL, 10) * 1000000;
	if (sscanf(argv[1], "disk-%15[^-]-%15[^-]-%15[^-]-%u", a, b, c,
	    &depth) == 4 && depth > 0 && depth <= DEPTH_MAX)
		return (disk_main(strcmp(a, "raw") == 0 ? "/dev/vdb" :
		    "/dev/vdc", strcmp(b, "rand") == 0,
		    strcmp(c, "write") == 0, depth, length));
	if (sscanf(argv[1], "net-%15[^-]-%15[^-]", a, b) == 2)
		return (net_main(strcmp(a, "nat") == 0,
		    strcmp(b, "receive") == 0, length));
	if (strcmp(argv[1], "net-serve") == 0)
		return (serve_main());
	fprintf(stderr, "io: no row %s\n", argv[1]);
	return (2);
}
