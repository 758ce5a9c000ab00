/*
 * A serial port: National Semiconductor PC16550D with its FIFOs, connected to
 * two descriptors. There is no baud rate: bytes move as fast as both ends can.
 *
 * 1. One lock [m]. The interrupt line follows uart_update(), which is called
 *    after each change.
 * 2. Output goes into n_out, a ring that a writer thread empties by blocking
 *    writes, so that neither a VCPU nor the loop ever waits for a terminal. It
 *    waits a moment for more than the first byte: a guest sends a line byte by
 *    byte, and a write for each would cost more than all else here.
 *    THRE is set while the ring has room: a guest that honours it loses no
 *    byte however slow the other end is, and one that does not loses its own.
 * 3. Input is read on the loop's thread into n_in, and only while there is
 *    room; the filter sees it there. It moves on to the receiver FIFO as the
 *    guest reads. When n_in is full the source is paused, and the guest's
 *    reads post its resumption.
 *
 * Threads: ports on VCPU threads, input on the loop's, output on the writer's.
 */
#include "machine/ns8250.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define FIFO_SIZE	16
#define IN_SIZE		4096
#define OUT_SIZE	65536		/* power of two */
#define OUT_MANY	4096		/* bytes that are written at once */
#define OUT_GATHER_NS	1000000		/* fewer wait for more so long */

/* Register offsets */
#define UART_DATA	0		/* RBR, THR; DLL with DLAB */
#define UART_IER	1		/* DLM with DLAB */
#define UART_IIR	2		/* FCR when written */
#define UART_LCR	3
#define UART_MCR	4
#define UART_LSR	5
#define UART_MSR	6
#define UART_SCR	7

#define IER_RDA		0x01
#define IER_THRE	0x02
#define IER_RLS		0x04
#define IER_MSI		0x08
#define IIR_NONE	0x01
#define IIR_MSI		0x00
#define IIR_THRE	0x02
#define IIR_RDA		0x04
#define IIR_RLS		0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFO	0xc0
#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_CLEAR_TX	0x04
#define LCR_BREAK	0x40
#define LCR_DLAB	0x80
#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_BI		0x10
#define LSR_THRE	0x20
#define LSR_TEMT	0x40
#define LSR_ERRORS	0x1e
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80
#define MSR_TERI	0x04
#define MSR_DELTA	0x0f

struct ns8250 {
	pthread_mutex_t	 n_lock;
	struct ns8250_config n_config;	/* [I] */
	struct bus	*n_ports;	/* [I] */
	struct window	 n_window;

	/* registers [m] */
	uint8_t		 n_ier, n_fcr, n_lcr, n_mcr, n_msr, n_scr;
	uint8_t		 n_dll, n_dlm;
	uint8_t		 n_errors;	/* LSR's sticky bits */
	bool		 n_thre_irq;	/* THR became empty, not yet told */
	bool		 n_was_full;	/* n_out was, THRE is to rise */

	/* receiver [m] */
	uint8_t		 n_fifo[FIFO_SIZE];
	unsigned	 n_fifo_first, n_fifo_count;
	uint8_t		 n_in[IN_SIZE];
	unsigned	 n_in_first, n_in_count;
	bool		 n_in_paused;
	struct loop_fd	*n_source;	/* the loop's thread's */

	/* transmitter [m] */
	uint8_t		 n_out[OUT_SIZE];
	unsigned	 n_out_first, n_out_count;
	uint64_t	 n_out_written;	/* bytes ever */
	bool		 n_out_broken;	/* nobody there: output is dropped */
	bool		 n_out_quit;
	pthread_cond_t	 n_out_work;	/* something to write, or quit */
	pthread_cond_t	 n_out_done;	/* something was written */
	pthread_t	 n_writer;
	bool		 n_writer_runs;	/* [I] */
};

static const uint8_t fifo_trigger[4] = { 1, 4, 8, 14 };

/* --- interrupts ---------------------------------------------------------- */

static uint8_t
uart_iir(const struct ns8250 *n)
{
	uint8_t fifo = n->n_fcr & FCR_ENABLE ? IIR_FIFO : 0;

	if ((n->n_ier & IER_RLS) && n->n_errors != 0)
		return (IIR_RLS | fifo);
	if ((n->n_ier & IER_RDA) && n->n_fifo_count > 0) {
		if (fifo != 0 &&
		    n->n_fifo_count < fifo_trigger[n->n_fcr >> 6])
			return (IIR_TIMEOUT | fifo);
		return (IIR_RDA | fifo);
	}
	if ((n->n_ier & IER_THRE) && n->n_thre_irq)
		return (IIR_THRE | fifo);
	if ((n->n_ier & IER_MSI) && (n->n_msr & MSR_DELTA) != 0)
		return (IIR_MSI | fifo);
	return (IIR_NONE | fifo);
}

/* OUT2 connects the interrupt to the bus; the loop-back disconnects it. */
static void
uart_update(struct ns8250 *n)
{
	irq_set(&n->n_config.nc_irq,
	    (n->n_mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 &&
	    (uart_iir(n) & IIR_NONE) == 0);
}

/* --- receiver ------------------------------------------------------------ */

static unsigned
fifo_room(const struct ns8250 *n)
{
	return ((n->n_fcr & FCR_ENABLE ? FIFO_SIZE : 1) - n->n_fifo_count);
}

static void
fifo_put(struct ns8250 *n, uint8_t byte)
{
	n->n_fifo[(n->n_fifo_first + n->n_fifo_count++) % FIFO_SIZE] = byte;
}

/* Moves on what the FIFO has room for. */
static void
uart_feed(struct ns8250 *n)
{
	unsigned room;

	if (n->n_mcr & MCR_LOOP)
		return;
	for (room = fifo_room(n); room > 0 && n->n_in_count > 0; room--) {
		fifo_put(n, n->n_in[n->n_in_first]);
		n->n_in_first = (n->n_in_first + 1) % IN_SIZE;
		n->n_in_count--;
	}
}

static void
uart_resume(void *arg)
{
	struct ns8250 *n = arg;

	if (n->n_source != NULL)
		loop_fd_events(n->n_source, EPOLLIN);
}

static uint8_t
uart_receive(struct ns8250 *n)
{
	uint8_t byte = 0;

	if (n->n_fifo_count > 0) {
		byte = n->n_fifo[n->n_fifo_first];
		n->n_fifo_first = (n->n_fifo_first + 1) % FIFO_SIZE;
		n->n_fifo_count--;
	}
	uart_feed(n);
	if (n->n_in_paused && n->n_in_count < IN_SIZE / 2 &&
	    loop_post(n->n_config.nc_loop, uart_resume, n) == 0)
		n->n_in_paused = false;
	return (byte);
}

/* The loop: nc_in is readable. */
static void
uart_input(void *arg, uint32_t events)
{
	struct ns8250 *n = arg;
	uint8_t buf[256], out[2];
	unsigned room;
	ssize_t got, i;
	size_t len, j;

	(void)events;
	pthread_mutex_lock(&n->n_lock);
	room = (IN_SIZE - n->n_in_count) / 2;	/* a byte may become two */
	if (room == 0) {
		n->n_in_paused = true;
		loop_fd_events(n->n_source, 0);
	}
	pthread_mutex_unlock(&n->n_lock);
	if (room == 0)
		return;
	got = read(n->n_config.nc_in, buf,
	    room < sizeof(buf) ? room : sizeof(buf));
	if (got == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got <= 0) {		/* end of input: the machine goes on */
		loop_fd_free(n->n_source);
		n->n_source = NULL;
		return;
	}
	for (i = 0; i < got; i++) {
		out[0] = buf[i];
		len = 1;
		/* the filter may end the machine: no lock held */
		if (n->n_config.nc_filter != NULL)
			len = n->n_config.nc_filter(n->n_config.nc_arg,
			    buf[i], out);
		pthread_mutex_lock(&n->n_lock);
		for (j = 0; j < len && j < sizeof(out); j++)
			n->n_in[(n->n_in_first + n->n_in_count++) %
			    IN_SIZE] = out[j];
		pthread_mutex_unlock(&n->n_lock);
	}
	pthread_mutex_lock(&n->n_lock);
	uart_feed(n);
	uart_update(n);
	pthread_mutex_unlock(&n->n_lock);
}

/* --- transmitter --------------------------------------------------------- */

static void
uart_transmit(struct ns8250 *n, uint8_t byte)
{
	n->n_thre_irq = false;
	if (n->n_mcr & MCR_LOOP) {
		if (fifo_room(n) > 0)
			fifo_put(n, byte);
		else
			n->n_errors |= LSR_OE;
	} else if (n->n_writer_runs && !n->n_out_broken &&
	    n->n_out_count < OUT_SIZE) {
		n->n_out[(n->n_out_first + n->n_out_count) % OUT_SIZE] = byte;
		n->n_out_count++;
		if (n->n_out_count == 1 || n->n_out_count == OUT_MANY)
			pthread_cond_signal(&n->n_out_work);
	}
	if (n->n_out_count < OUT_SIZE) {
		/* sent already: the request falls and rises again */
		uart_update(n);
		n->n_thre_irq = true;
	} else
		n->n_was_full = true;
}

/* A part of the ring was written, or cannot be. Lock held. */
static void
uart_written(struct ns8250 *n, unsigned count)
{
	n->n_out_first = (n->n_out_first + count) % OUT_SIZE;
	n->n_out_count -= count;
	n->n_out_written += count;
	if (n->n_was_full && n->n_out_count <= OUT_SIZE / 2) {
		n->n_was_full = false;
		n->n_thre_irq = true;
		uart_update(n);
	}
	pthread_cond_broadcast(&n->n_out_done);
}

static void __attribute__((noinline))
pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_nsec = (long)ms * 1000000 };

	nanosleep(&ts, NULL);
}

/* Waits a moment for more to write. Lock held. */
static void __attribute__((noinline))
uart_gather(struct ns8250 *n)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += OUT_GATHER_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (!n->n_out_quit && n->n_out_count < OUT_MANY)
		if (pthread_cond_timedwait(&n->n_out_work, &n->n_lock,
		    &until) != 0)
			break;
}

/*
 * The thread may be cancelled in its write. No variable of this function has
 * its address taken: the address sanitizer does not see such a frame go.
 */
static void *
uart_writer(void *arg)
{
	struct ns8250 *n = arg;
	unsigned len;
	ssize_t done;
	int error;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_mutex_lock(&n->n_lock);
	while (!n->n_out_quit) {
		if (n->n_out_count == 0) {
			pthread_cond_wait(&n->n_out_work, &n->n_lock);
			continue;
		}
		/* also what came during the last write */
		uart_gather(n);
		len = n->n_out_count;
		if (len > OUT_SIZE - n->n_out_first)
			len = OUT_SIZE - n->n_out_first;
		/* Only we take out: this part of the ring stands still. */
		pthread_mutex_unlock(&n->n_lock);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		done = write(n->n_config.nc_out, n->n_out + n->n_out_first,
		    len);
		error = errno;
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		if (done == -1 && error == EAGAIN)	/* somebody's O_NONBLOCK */
			pause_ms(1);
		pthread_mutex_lock(&n->n_lock);
		if (done > 0)
			uart_written(n, (unsigned)done);
		else if (done == -1 && error != EINTR && error != EAGAIN) {
			n->n_out_broken = true;
			uart_written(n, n->n_out_count);
		}
	}
	pthread_mutex_unlock(&n->n_lock);
	return (NULL);
}

bool
ns8250_drain(struct ns8250 *n, unsigned stall_ms)
{
	struct timespec until;
	uint64_t written;
	bool done;

	pthread_mutex_lock(&n->n_lock);
	while (n->n_out_count > 0) {
		written = n->n_out_written;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += stall_ms / 1000;
		until.tv_nsec += (long)(stall_ms % 1000) * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		while (n->n_out_written == written && n->n_out_count > 0)
			if (pthread_cond_timedwait(&n->n_out_done, &n->n_lock,
			    &until) == ETIMEDOUT)
				break;
		if (n->n_out_written == written)
			break;
	}
	done = n->n_out_count == 0;
	pthread_mutex_unlock(&n->n_lock);
	return (done);
}

/* --- registers ----------------------------------------------------------- */

/* The modem lines: all well, or what the loop-back carries over from MCR. */
static void
uart_modem(struct ns8250 *n)
{
	uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD, changed;

	if (n->n_mcr & MCR_LOOP)
		lines = (n->n_mcr & MCR_RTS ? MSR_CTS : 0) |
		    (n->n_mcr & MCR_DTR ? MSR_DSR : 0) |
		    (n->n_mcr & MCR_OUT1 ? MSR_RI : 0) |
		    (n->n_mcr & MCR_OUT2 ? MSR_DCD : 0);
	changed = (uint8_t)((lines ^ n->n_msr) & 0xf0);
	if ((changed & MSR_RI) && (lines & MSR_RI))	/* only its fall tells */
		changed &= (uint8_t)~MSR_RI;
	n->n_msr = (uint8_t)(lines | (n->n_msr & MSR_DELTA) | changed >> 4);
}

static void
uart_clear_fifo(struct ns8250 *n)
{
	n->n_fifo_first = n->n_fifo_count = 0;
}

/* What came before a reset and was not read waits outside again. */
static void
uart_give_back(struct ns8250 *n)
{
	while (n->n_fifo_count > 0 && n->n_in_count < IN_SIZE) {
		n->n_fifo_count--;
		n->n_in_first = (n->n_in_first + IN_SIZE - 1) % IN_SIZE;
		n->n_in[n->n_in_first] = n->n_fifo[(n->n_fifo_first +
		    n->n_fifo_count) % FIFO_SIZE];
		n->n_in_count++;
	}
}

static void
uart_write_fcr(struct ns8250 *n, uint8_t v)
{
	if ((v ^ n->n_fcr) & FCR_ENABLE)
		v |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	if (v & FCR_CLEAR_RX)
		uart_clear_fifo(n);
	/* what was written is sent already: FCR_CLEAR_TX finds nothing */
	n->n_fcr = v & FCR_ENABLE ? v & 0xc9 : 0;
	uart_feed(n);
}

static uint8_t
uart_lsr(const struct ns8250 *n)
{
	return ((uint8_t)((n->n_fifo_count > 0 ? LSR_DR : 0) | n->n_errors |
	    (n->n_out_count < OUT_SIZE ? LSR_THRE | LSR_TEMT : 0)));
}

static uint64_t
uart_read(void *arg, uint64_t offset, unsigned size)
{
	struct ns8250 *n = arg;
	uint8_t v = 0xff;

	(void)size;
	pthread_mutex_lock(&n->n_lock);
	switch (offset) {
	case UART_DATA:
		v = n->n_lcr & LCR_DLAB ? n->n_dll : uart_receive(n);
		break;
	case UART_IER:
		v = n->n_lcr & LCR_DLAB ? n->n_dlm : n->n_ier;
		break;
	case UART_IIR:
		v = uart_iir(n);
		if ((v & 0x0f) == IIR_THRE)
			n->n_thre_irq = false;
		break;
	case UART_LCR:
		v = n->n_lcr;
		break;
	case UART_MCR:
		v = n->n_mcr;
		break;
	case UART_LSR:
		v = uart_lsr(n);
		n->n_errors = 0;
		break;
	case UART_MSR:
		v = n->n_msr;
		n->n_msr &= (uint8_t)~MSR_DELTA;
		break;
	case UART_SCR:
		v = n->n_scr;
		break;
	}
	uart_update(n);
	pthread_mutex_unlock(&n->n_lock);
	return (v);
}

static void
uart_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct ns8250 *n = arg;
	uint8_t v = (uint8_t)value;

	(void)size;
	pthread_mutex_lock(&n->n_lock);
	switch (offset) {
	case UART_DATA:
		if (n->n_lcr & LCR_DLAB)
			n->n_dll = v;
		else
			uart_transmit(n, v);
		break;
	case UART_IER:
		if (n->n_lcr & LCR_DLAB) {
			n->n_dlm = v;
			break;
		}
		/* enabling it while the THR is empty tells so at once */
		if ((v & ~n->n_ier & IER_THRE) && n->n_out_count < OUT_SIZE)
			n->n_thre_irq = true;
		n->n_ier = v & 0x0f;
		break;
	case UART_IIR:
		uart_write_fcr(n, v);
		break;
	case UART_LCR:
		if ((n->n_mcr & MCR_LOOP) && (v & ~n->n_lcr & LCR_BREAK)) {
			if (fifo_room(n) > 0)
				fifo_put(n, 0);
			n->n_errors |= LSR_BI;
		}
		n->n_lcr = v;
		break;
	case UART_MCR:
		n->n_mcr = v & 0x1f;
		uart_modem(n);
		uart_feed(n);
		break;
	case UART_SCR:
		n->n_scr = v;
		break;
	}
	uart_update(n);
	pthread_mutex_unlock(&n->n_lock);
}

/* --- life ---------------------------------------------------------------- */

static int
uart_start(struct ns8250 *n)
{
	pthread_condattr_t attr;
	int error;

	pthread_mutex_init(&n->n_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->n_out_work, &attr);
	pthread_cond_init(&n->n_out_done, &attr);
	pthread_condattr_destroy(&attr);
	n->n_window = (struct window){ .w_base = n->n_config.nc_base,
		.w_size = 8, .w_read = uart_read, .w_write = uart_write,
		.w_arg = n, .w_width = 1, .w_name = "ns8250" };
	if ((error = bus_add(n->n_ports, &n->n_window)) != 0)
		return (error);
	if (n->n_config.nc_in != -1) {
		n->n_source = loop_fd_new(n->n_config.nc_loop,
		    n->n_config.nc_in, EPOLLIN, uart_input, n);
		/* a closed descriptor is no input, not an error */
		if (n->n_source == NULL && errno != EBADF)
			return (errno);
	}
	if (n->n_config.nc_out != -1) {
		n->n_writer_runs = true;
		if ((error = pthread_create(&n->n_writer, NULL, uart_writer,
		    n)) != 0)
			n->n_writer_runs = false;
	}
	return (error);
}

struct ns8250 *
ns8250_new(struct bus *ports, const struct ns8250_config *config)
{
	struct ns8250 *n;
	int error;

	if ((n = calloc(1, sizeof(*n))) == NULL)
		return (NULL);
	n->n_config = *config;
	n->n_ports = ports;
	error = uart_start(n);
	if (error != 0) {
		ns8250_free(n);
		errno = error;
		return (NULL);
	}
	ns8250_reset(n);
	return (n);
}

void
ns8250_free(struct ns8250 *n)
{
	if (n == NULL)
		return;
	bus_remove(n->n_ports, &n->n_window);
	loop_fd_free(n->n_source);
	if (n->n_writer_runs) {
		pthread_mutex_lock(&n->n_lock);
		n->n_out_quit = true;
		pthread_cond_signal(&n->n_out_work);
		pthread_mutex_unlock(&n->n_lock);
		/* it may be in a write that never returns */
		pthread_cancel(n->n_writer);
		pthread_join(n->n_writer, NULL);
	}
	pthread_cond_destroy(&n->n_out_work);
	pthread_cond_destroy(&n->n_out_done);
	pthread_mutex_destroy(&n->n_lock);
	free(n);
}

void
ns8250_reset(struct ns8250 *n)
{
	pthread_mutex_lock(&n->n_lock);
	if ((n->n_mcr & MCR_LOOP) == 0)
		uart_give_back(n);
	n->n_ier = n->n_fcr = n->n_lcr = n->n_mcr = 0;
	n->n_dll = 12;		/* 9600, for those who look */
	n->n_dlm = 0;
	n->n_errors = 0;
	n->n_thre_irq = false;
	n->n_msr = MSR_CTS | MSR_DSR | MSR_DCD;
	uart_clear_fifo(n);
	uart_feed(n);
	uart_update(n);
	pthread_mutex_unlock(&n->n_lock);
}

/* Its registers, one after the other. */
#define STATE_REGS	9

static void
uart_registers(struct ns8250 *n, uint8_t *regs[STATE_REGS],
    uint8_t masks[STATE_REGS])
{
	const struct { uint8_t *reg, mask; } all[STATE_REGS] = {
		{ &n->n_ier, 0x0f }, { &n->n_fcr, 0xc9 }, { &n->n_lcr, 0xff },
		{ &n->n_mcr, 0x1f }, { &n->n_msr, 0xff }, { &n->n_scr, 0xff },
		{ &n->n_dll, 0xff }, { &n->n_dlm, 0xff },
		{ &n->n_errors, LSR_ERRORS }
	};
	unsigned i;

	for (i = 0; i < STATE_REGS; i++) {
		regs[i] = all[i].reg;
		masks[i] = all[i].mask;
	}
}

/* Takes over what was loaded. */
static void
uart_load(struct ns8250 *n, const uint8_t *fifo, unsigned count,
    const uint8_t *in, unsigned waits)
{
	memcpy(n->n_fifo, fifo, count);
	n->n_fifo_first = 0;
	n->n_fifo_count = count;
	memcpy(n->n_in, in, waits);
	n->n_in_first = 0;
	n->n_in_count = waits;
	if (n->n_in_paused &&
	    loop_post(n->n_config.nc_loop, uart_resume, n) == 0)
		n->n_in_paused = false;
	uart_update(n);
}

/*
 * What the guest has of it, and the input that it has not yet taken. Output
 * was sent when it was written: what waits for the other end is not the
 * machine's any more.
 */
void
ns8250_state(struct ns8250 *n, struct state *s)
{
	uint8_t *regs[STATE_REGS], masks[STATE_REGS], values[STATE_REGS];
	uint8_t fifo[FIFO_SIZE], in[IN_SIZE];
	uint32_t count, waits;
	unsigned i;
	bool thre;

	pthread_mutex_lock(&n->n_lock);
	count = n->n_fifo_count;
	waits = n->n_in_count;
	thre = n->n_thre_irq;
	for (i = 0; i < count; i++)
		fifo[i] = n->n_fifo[(n->n_fifo_first + i) % FIFO_SIZE];
	for (i = 0; i < waits; i++)
		in[i] = n->n_in[(n->n_in_first + i) % IN_SIZE];
	uart_registers(n, regs, masks);
	state_begin(s, "ns8250", 0, 1);
	for (i = 0; i < STATE_REGS; i++) {
		values[i] = *regs[i];
		state_u8_bits(s, &values[i], masks[i]);
	}
	state_bool(s, &thre);
	state_u32_max(s, &count, values[1] & FCR_ENABLE ? FIFO_SIZE : 1);
	state_bytes(s, fifo, count);
	state_u32_max(s, &waits, IN_SIZE);
	state_bytes(s, in, waits);
	if (state_loaded(s)) {
		for (i = 0; i < STATE_REGS; i++)
			*regs[i] = values[i];
		n->n_thre_irq = thre;
		uart_load(n, fifo, count, in, waits);
	}
	state_end(s);
	pthread_mutex_unlock(&n->n_lock);
}
