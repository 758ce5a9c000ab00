/*
 * Two 8259A interrupt controllers as a PC wires them: the slave on the
 * master's IR2, ports 20-21 and A0-A1, and the ELCR at 4D0-4D1 that makes each
 * input edge- or level-triggered (Intel 8259A data sheet; 82371FB 3.3).
 *
 * 1. One lock [m] for both chips. ic_intr is called with it held, only when
 *    the master's INT output changes.
 * 2. A request is ic_edges (latched rising edges) or, for level-triggered
 *    inputs, ic_lines as they are now.
 * 3. The guest may program any nonsense; no state leads out of the tables.
 *
 * Threads: any.
 */
#include "machine/i8259.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define CASCADE		2		/* the slave's place on the master */

/* ICW1, ICW4 */
#define ICW1_IC4	0x01
#define ICW1_SNGL	0x02
#define ICW1_INIT	0x10
#define ICW4_AEOI	0x02
#define ICW4_SFNM	0x10
/* OCW2: the command in bits 7:5 */
#define OCW2_CMD(v)	((v) >> 5)
#define OCW2_ROT_AEOI_OFF 0
#define OCW2_EOI	1
#define OCW2_SEOI	3
#define OCW2_ROT_AEOI_ON 4
#define OCW2_ROT_EOI	5
#define OCW2_SET_PRIO	6
#define OCW2_ROT_SEOI	7
/* OCW3 */
#define OCW3_RIS	0x01
#define OCW3_RR		0x02
#define OCW3_POLL	0x04
#define OCW3_SEL	0x08
#define OCW3_SMM	0x20
#define OCW3_ESMM	0x40

struct chip {
	uint8_t	 ic_lines;	/* inputs now */
	uint8_t	 ic_edges;	/* rising edges not yet acknowledged */
	uint8_t	 ic_elcr;	/* 1: level-triggered */
	uint8_t	 ic_elcr_mask;
	uint8_t	 ic_imr, ic_isr;
	uint8_t	 ic_base;	/* vector of input 0 */
	uint8_t	 ic_lowest;	/* input of lowest priority */
	uint8_t	 ic_init;	/* ICW expected next: 2, 3, 4; 0: none */
	bool	 ic_need_icw4, ic_single;
	bool	 ic_aeoi, ic_rotate_aeoi, ic_sfnm, ic_smm;
	bool	 ic_poll, ic_read_isr;
	bool	 ic_master;
};

struct i8259 {
	pthread_mutex_t	 i_lock;
	struct chip	 i_chip[2];	/* [m] master, slave */
	int		 i_int;		/* [m] level last told */
	void		(*i_intr)(void *, int);	/* [I] */
	void		*i_arg;		/* [I] */
	struct bus	*i_ports;	/* [I] */
	struct window	 i_window[3];
};

static uint8_t
chip_requests(const struct chip *c)
{
	return ((uint8_t)((c->ic_edges & ~c->ic_elcr) |
	    (c->ic_lines & c->ic_elcr)));
}

/* The set input of highest priority; 8 if none. 0 is the highest rank. */
static unsigned
chip_first(const struct chip *c, uint8_t set, unsigned *rank)
{
	unsigned i, input;

	for (i = 0; i < 8; i++) {
		input = (c->ic_lowest + 1 + i) & 7;
		if (set & 1u << input) {
			*rank = i;
			return (input);
		}
	}
	*rank = 8;
	return (8);
}

/* The input that would be served now, or -1: what drives INT. */
static int
chip_winner(const struct chip *c)
{
	unsigned input, rank, busy;
	uint8_t serving = c->ic_isr;

	input = chip_first(c, chip_requests(c) & (uint8_t)~c->ic_imr, &rank);
	if (input == 8)
		return (-1);
	/* special mask mode: a masked input in service blocks nobody */
	if (c->ic_smm)
		serving &= (uint8_t)~c->ic_imr;
	/* special fully nested mode: the slave may interrupt itself */
	if (c->ic_sfnm && c->ic_master && input == CASCADE)
		serving &= (uint8_t)~(1u << CASCADE);
	chip_first(c, serving, &busy);
	return (rank < busy ? (int)input : -1);
}

static void
chip_input(struct chip *c, unsigned input, int level)
{
	uint8_t bit = (uint8_t)(1u << input);

	if (level) {
		if ((c->ic_lines & bit) == 0)
			c->ic_edges |= bit;
		c->ic_lines |= bit;
	} else
		c->ic_lines &= (uint8_t)~bit;
}

/* Carries INT from the slave to the master, and from the master out. */
static void
i8259_update(struct i8259 *i)
{
	int level;

	/*
	 * The slave's INT is a level; as an edge-triggered input it must rise
	 * anew for each of its requests that the master has not seen.
	 */
	level = chip_winner(&i->i_chip[1]) >= 0;
	chip_input(&i->i_chip[0], CASCADE, level);
	if (!level)
		i->i_chip[0].ic_edges &= (uint8_t)~(1u << CASCADE);
	level = chip_winner(&i->i_chip[0]) >= 0;
	if (level != i->i_int) {
		i->i_int = level;
		i->i_intr(i->i_arg, level);
	}
}

/* INTA: takes the winner into service; 7 if the request has gone away. */
static unsigned
chip_ack(struct chip *c)
{
	int winner = chip_winner(c);
	uint8_t bit;

	if (winner < 0)
		return (7);
	bit = (uint8_t)(1u << winner);
	c->ic_edges &= (uint8_t)~bit;
	if (!c->ic_aeoi)
		c->ic_isr |= bit;
	else if (c->ic_rotate_aeoi)
		c->ic_lowest = (uint8_t)winner;
	return ((unsigned)winner);
}

uint8_t
i8259_ack(struct i8259 *i)
{
	struct chip *m = &i->i_chip[0], *s = &i->i_chip[1];
	unsigned input;
	uint8_t vector;

	pthread_mutex_lock(&i->i_lock);
	input = chip_ack(m);
	vector = (uint8_t)(m->ic_base + input);
	if (input == CASCADE && !m->ic_single) {
		vector = (uint8_t)(s->ic_base + chip_ack(s));
		/* INT of the slave falls during the second INTA cycle */
		chip_input(m, CASCADE, 0);
	}
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
	return (vector);
}

bool
i8259_pending(struct i8259 *i)
{
	bool pending;

	pthread_mutex_lock(&i->i_lock);
	pending = i->i_int != 0;
	pthread_mutex_unlock(&i->i_lock);
	return (pending);
}

void
i8259_set(struct i8259 *i, unsigned line, int level)
{
	if (line >= I8259_LINES || line == CASCADE)
		return;
	pthread_mutex_lock(&i->i_lock);
	chip_input(&i->i_chip[line >> 3], line & 7, level);
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
}

bool
i8259_waits(struct i8259 *i, unsigned line)
{
	const struct chip *c = &i->i_chip[line >> 3 & 1];
	bool waits;

	pthread_mutex_lock(&i->i_lock);
	waits = (c->ic_edges & ~c->ic_elcr & ~c->ic_imr) >> (line & 7) & 1;
	pthread_mutex_unlock(&i->i_lock);
	return (waits);
}

void
i8259_set_elcr(struct i8259 *i, uint16_t lines)
{
	pthread_mutex_lock(&i->i_lock);
	i->i_chip[0].ic_elcr = (uint8_t)lines & i->i_chip[0].ic_elcr_mask;
	i->i_chip[1].ic_elcr = (uint8_t)(lines >> 8) &
	    i->i_chip[1].ic_elcr_mask;
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
}

/* --- what the guest writes and reads ------------------------------------- */

static void
chip_icw1(struct chip *c, uint8_t v)
{
	c->ic_edges = 0;
	c->ic_imr = 0;
	c->ic_isr = 0;
	c->ic_lowest = 7;
	c->ic_aeoi = c->ic_rotate_aeoi = c->ic_sfnm = c->ic_smm = false;
	c->ic_poll = c->ic_read_isr = false;
	c->ic_need_icw4 = (v & ICW1_IC4) != 0;
	c->ic_single = (v & ICW1_SNGL) != 0;
	c->ic_init = 2;
}

static void
chip_ocw2(struct chip *c, uint8_t v)
{
	unsigned cmd = OCW2_CMD(v), input = v & 7, rank;
	uint8_t serving = c->ic_isr;

	switch (cmd) {
	case OCW2_ROT_AEOI_OFF:
	case OCW2_ROT_AEOI_ON:
		c->ic_rotate_aeoi = cmd == OCW2_ROT_AEOI_ON;
		return;
	case OCW2_SET_PRIO:
		c->ic_lowest = (uint8_t)input;
		return;
	case OCW2_EOI:
	case OCW2_ROT_EOI:
		/* a masked one is not ended so in special mask mode */
		if (c->ic_smm)
			serving &= (uint8_t)~c->ic_imr;
		input = chip_first(c, serving, &rank);
		break;
	case OCW2_SEOI:
	case OCW2_ROT_SEOI:
		break;
	default:
		return;
	}
	if (input == 8)
		return;
	c->ic_isr &= (uint8_t)~(1u << input);
	if (cmd == OCW2_ROT_EOI || cmd == OCW2_ROT_SEOI)
		c->ic_lowest = (uint8_t)input;
}

static void
chip_ocw3(struct chip *c, uint8_t v)
{
	if (v & OCW3_POLL)
		c->ic_poll = true;
	if (v & OCW3_RR)
		c->ic_read_isr = (v & OCW3_RIS) != 0;
	if (v & OCW3_ESMM)
		c->ic_smm = (v & OCW3_SMM) != 0;
}

static void
chip_write(struct chip *c, unsigned a0, uint8_t v)
{
	if (a0 == 0) {
		if (v & ICW1_INIT)
			chip_icw1(c, v);
		else if (v & OCW3_SEL)
			chip_ocw3(c, v);
		else
			chip_ocw2(c, v);
		return;
	}
	switch (c->ic_init) {
	case 2:
		c->ic_base = v & 0xf8;
		c->ic_init = !c->ic_single ? 3 : c->ic_need_icw4 ? 4 : 0;
		break;
	case 3:		/* the wiring is what it is */
		c->ic_init = c->ic_need_icw4 ? 4 : 0;
		break;
	case 4:
		c->ic_aeoi = (v & ICW4_AEOI) != 0;
		c->ic_sfnm = (v & ICW4_SFNM) != 0;
		c->ic_init = 0;
		break;
	default:
		c->ic_imr = v;
		break;
	}
}

static uint8_t
chip_read(struct chip *c, unsigned a0)
{
	int winner;

	if (c->ic_poll) {	/* an INTA by reading */
		c->ic_poll = false;
		winner = chip_winner(c);
		return (winner < 0 ? 0 : (uint8_t)(0x80 | chip_ack(c)));
	}
	if (a0 == 1)
		return (c->ic_imr);
	return (c->ic_read_isr ? c->ic_isr : chip_requests(c));
}

static uint64_t
i8259_read(struct i8259 *i, unsigned chip, uint64_t offset)
{
	uint8_t v;

	pthread_mutex_lock(&i->i_lock);
	if (chip == 1 && i->i_chip[1].ic_poll)
		chip_input(&i->i_chip[0], CASCADE, 0);	/* as in INTA */
	v = chip_read(&i->i_chip[chip], (unsigned)offset);
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
	return (v);
}

static void
i8259_write(struct i8259 *i, unsigned chip, uint64_t offset, uint64_t value)
{
	pthread_mutex_lock(&i->i_lock);
	chip_write(&i->i_chip[chip], (unsigned)offset, (uint8_t)value);
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
}

static uint64_t
master_read(void *arg, uint64_t offset, unsigned size)
{
	(void)size;
	return (i8259_read(arg, 0, offset));
}

static void
master_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)size;
	i8259_write(arg, 0, offset, value);
}

static uint64_t
slave_read(void *arg, uint64_t offset, unsigned size)
{
	(void)size;
	return (i8259_read(arg, 1, offset));
}

static void
slave_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)size;
	i8259_write(arg, 1, offset, value);
}

static uint64_t
elcr_read(void *arg, uint64_t offset, unsigned size)
{
	struct i8259 *i = arg;
	uint8_t v;

	(void)size;
	pthread_mutex_lock(&i->i_lock);
	v = i->i_chip[offset].ic_elcr;
	pthread_mutex_unlock(&i->i_lock);
	return (v);
}

static void
elcr_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8259 *i = arg;
	struct chip *c = &i->i_chip[offset];

	(void)size;
	pthread_mutex_lock(&i->i_lock);
	c->ic_elcr = (uint8_t)value & c->ic_elcr_mask;
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
}

/* --- life ---------------------------------------------------------------- */

static const struct {
	uint64_t base;
	uint64_t (*read)(void *, uint64_t, unsigned);
	void	(*write)(void *, uint64_t, unsigned, uint64_t);
} windows[] = {
	{ 0x20, master_read, master_write },
	{ 0xa0, slave_read, slave_write },
	{ 0x4d0, elcr_read, elcr_write },
};

struct i8259 *
i8259_new(struct bus *ports, void (*intr)(void *, int), void *arg)
{
	struct i8259 *i;
	unsigned n;
	int error;

	if ((i = calloc(1, sizeof(*i))) == NULL)
		return (NULL);
	pthread_mutex_init(&i->i_lock, NULL);
	i->i_intr = intr;
	i->i_arg = arg;
	i->i_ports = ports;
	i->i_chip[0].ic_master = true;
	i->i_chip[0].ic_elcr_mask = 0xf8;	/* not timer, kbd, cascade */
	i->i_chip[1].ic_elcr_mask = 0xde;	/* not RTC, FPU */
	i8259_reset(i);
	for (n = 0; n < 3; n++) {
		i->i_window[n] = (struct window){ .w_base = windows[n].base,
			.w_size = 2, .w_read = windows[n].read,
			.w_write = windows[n].write, .w_arg = i,
			.w_width = 1, .w_name = "i8259" };
		if ((error = bus_add(ports, &i->i_window[n])) != 0) {
			i8259_free(i);
			errno = error;
			return (NULL);
		}
	}
	return (i);
}

void
i8259_free(struct i8259 *i)
{
	unsigned n;

	if (i == NULL)
		return;
	for (n = 0; n < 3; n++)
		bus_remove(i->i_ports, &i->i_window[n]);
	pthread_mutex_destroy(&i->i_lock);
	free(i);
}

void
i8259_reset(struct i8259 *i)
{
	struct chip *c;

	pthread_mutex_lock(&i->i_lock);
	for (c = i->i_chip; c < i->i_chip + 2; c++) {
		/* the inputs are wires: they stay as they are */
		chip_icw1(c, 0);
		c->ic_init = 0;
		c->ic_imr = 0xff;
		c->ic_base = 0;
		c->ic_elcr = 0;
	}
	i8259_update(i);
	pthread_mutex_unlock(&i->i_lock);
}

static void
chip_state(struct chip *c, struct state *s)
{
	state_u8(s, &c->ic_lines);
	state_u8(s, &c->ic_edges);
	state_u8_bits(s, &c->ic_elcr, c->ic_elcr_mask);
	state_u8(s, &c->ic_imr);
	state_u8(s, &c->ic_isr);
	state_u8_bits(s, &c->ic_base, 0xf8);
	state_u8_max(s, &c->ic_lowest, 7);
	state_u8_max(s, &c->ic_init, 4);
	state_bool(s, &c->ic_need_icw4);
	state_bool(s, &c->ic_single);
	state_bool(s, &c->ic_aeoi);
	state_bool(s, &c->ic_rotate_aeoi);
	state_bool(s, &c->ic_sfnm);
	state_bool(s, &c->ic_smm);
	state_bool(s, &c->ic_poll);
	state_bool(s, &c->ic_read_isr);
}

/* INT is told anew, whatever was told before. */
void
i8259_state(struct i8259 *i, struct state *s)
{
	struct chip chip[2];
	unsigned n;

	pthread_mutex_lock(&i->i_lock);
	state_begin(s, "i8259", 0, 1);
	for (n = 0; n < 2; n++) {
		chip[n] = i->i_chip[n];
		chip_state(&chip[n], s);
	}
	if (state_loaded(s)) {
		for (n = 0; n < 2; n++)
			i->i_chip[n] = chip[n];
		i->i_int = -1;
		i8259_update(i);
	}
	state_end(s);
	pthread_mutex_unlock(&i->i_lock);
}
