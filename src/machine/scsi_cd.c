/*
 * The CD-ROM drive's commands (scsi_cd.h). Integers are big-endian.
 *
 * 1. A command is a row of the table at the end; what is not there is ILLEGAL
 *    REQUEST. Rows that need a disc are not reached without one.
 * 2. Data is cut to the command's allocation length here, to the buffer that
 *    the driver gave by the transport.
 *
 * Threads: the caller's, under its lock.
 */
#include "machine/scsi_cd.h"

#include <assert.h>
#include <string.h>

#define BLOCK		2048u
#define LEAD_OUT	0xaa
#define CD_BLOCKS_MAX	360000u		/* 80 minutes; more is a DVD */

/* Sense keys, and additional codes with their qualifiers (SPC-3, 4.5). */
#define KEY_NOT_READY	0x02
#define KEY_MEDIUM_ERROR 0x03
#define KEY_ILLEGAL	0x05
#define ASC_UNRECOVERED	0x1100
#define ASC_OPCODE	0x2000
#define ASC_RANGE	0x2100		/* logical block out of range */
#define ASC_FIELD	0x2400		/* invalid field in CDB */
#define ASC_NO_LUN	0x2500
#define ASC_NO_MEDIUM	0x3a00
#define ASC_LOCKED	0x5302

#define PROFILE_CD	0x0008
#define PROFILE_DVD	0x0010

struct command {
	struct scsi_cd		*c_cd;
	const uint8_t		*c_cdb;
	unsigned		 c_lun;
	struct scsi_answer	*c_answer;
};

/* --- building answers ---------------------------------------------------- */

static void
sense(struct scsi_answer *a, uint8_t key, unsigned code)
{
	memset(a, 0, sizeof(*a));
	a->sa_status = SCSI_CHECK_CONDITION;
	a->sa_sense[0] = 0x70;		/* current error, fixed format */
	a->sa_sense[2] = key;
	a->sa_sense[7] = SCSI_SENSE_SIZE - 8;
	a->sa_sense[12] = (uint8_t)(code >> 8);
	a->sa_sense[13] = (uint8_t)code;
}

static void
illegal_field(struct command *c)
{
	sense(c->c_answer, KEY_ILLEGAL, ASC_FIELD);
}

static void
put(struct command *c, uint64_t v, unsigned size)
{
	struct scsi_answer *a = c->c_answer;

	assert(a->sa_len + size <= sizeof(a->sa_data));
	while (size-- > 0)
		a->sa_data[a->sa_len++] =
		    (uint8_t)(size < sizeof(v) ? v >> 8 * size : 0);
}

/* Text of a fixed length, blank at its end. */
static void
put_text(struct command *c, const char *text, size_t size)
{
	struct scsi_answer *a = c->c_answer;
	size_t i;

	assert(a->sa_len + size <= sizeof(a->sa_data));
	for (i = 0; i < size; i++) {
		a->sa_data[a->sa_len++] =
		    *text >= ' ' && *text <= '~' ? (uint8_t)*text : ' ';
		if (*text != '\0')
			text++;
	}
}

/* Fills in a length field, of what follows it. */
static void
set_length(struct command *c, size_t at, unsigned size)
{
	struct scsi_answer *a = c->c_answer;
	size_t v = a->sa_len - at - size;

	while (size-- > 0) {
		a->sa_data[at + size] = (uint8_t)v;
		v >>= 8;
	}
}

static uint32_t
get(const struct command *c, unsigned at, unsigned size)
{
	uint32_t v = 0;

	while (size-- > 0)
		v = v << 8 | c->c_cdb[at++];
	return (v);
}

static void
cut(struct command *c, uint32_t allocated)
{
	if (c->c_answer->sa_len > allocated)
		c->c_answer->sa_len = allocated;
}

static unsigned
profile(const struct scsi_cd *cd)
{
	if (cd->cd_open)
		return (0);
	return (cd->cd_blocks > CD_BLOCKS_MAX ? PROFILE_DVD : PROFILE_CD);
}

/* A block address: as such, or as minute, second and frame. */
static void
put_address(struct command *c, uint64_t block, bool msf)
{
	if (block > UINT32_MAX)
		block = UINT32_MAX;
	if (msf) {
		block += 150;
		put(c, 0, 1);
		put(c, block / 4500 > 255 ? 255 : block / 4500, 1);
		put(c, block / 75 % 60, 1);
		put(c, block % 75, 1);
	} else
		put(c, block, 4);
}

/* --- what every device has ----------------------------------------------- */

static void
cd_nothing(struct command *c)
{
	(void)c;
}

static void
inquiry_page(struct command *c)
{
	put(c, 0x05, 1);
	put(c, c->c_cdb[2], 1);
	put(c, 0, 2);			/* length */
	switch (c->c_cdb[2]) {
	case 0x00:			/* supported pages */
		put(c, 0x008083, 3);
		break;
	case 0x80:			/* serial number */
		put_text(c, c->c_cd->cd_serial, sizeof(c->c_cd->cd_serial));
		break;
	case 0x83:			/* identification: T10 vendor, ASCII */
		put(c, 0x0201, 2);
		put(c, 8 + sizeof(c->c_cd->cd_serial), 2);
		put_text(c, "VMM", 8);
		put_text(c, c->c_cd->cd_serial, sizeof(c->c_cd->cd_serial));
		break;
	default:
		illegal_field(c);
		return;
	}
	set_length(c, 2, 2);
}

static void
cd_inquiry(struct command *c)
{
	if (c->c_cdb[1] & 0x01)		/* EVPD */
		inquiry_page(c);
	else if (c->c_cdb[2] != 0)
		illegal_field(c);
	else {
		/* a CD-ROM drive; or there is none at this LUN */
		put(c, c->c_lun == 0 ? 0x05 : 0x7f, 1);
		put(c, 0x80, 1);	/* removable */
		put(c, 0x05, 1);	/* SPC-3 */
		put(c, 0x02, 1);	/* format of this data */
		put(c, 36 - 5, 1);
		put(c, 0, 3);
		put_text(c, "VMM", 8);
		put_text(c, "CD-ROM", 16);
		put_text(c, "1", 4);
	}
	if (c->c_answer->sa_status == SCSI_GOOD)
		cut(c, get(c, 3, 2));
}

/* Sense comes with the command that failed: there is never any left. */
static void
cd_request_sense(struct command *c)
{
	if (c->c_lun != 0)
		put(c, 0x70000500, 4);	/* ILLEGAL REQUEST */
	else
		put(c, 0x70000000, 4);
	put(c, 0, 3);
	put(c, SCSI_SENSE_SIZE - 8, 1);
	put(c, 0, 4);
	put(c, c->c_lun != 0 ? ASC_NO_LUN : 0, 2);
	put(c, 0, 4);
	cut(c, c->c_cdb[4]);
}

static void
cd_report_luns(struct command *c)
{
	if (c->c_cdb[2] > 0x02) {
		illegal_field(c);
		return;
	}
	put(c, c->c_cdb[2] == 0x01 ? 0 : 8, 4);	/* 1: well-known ones */
	put(c, 0, 4);
	if (c->c_cdb[2] != 0x01)
		put(c, 0, 8);
	cut(c, get(c, 6, 4));
}

/* --- the disc ------------------------------------------------------------ */

static void
cd_read(struct command *c, uint64_t block, uint64_t count)
{
	struct scsi_cd *cd = c->c_cd;

	if (block > cd->cd_blocks || count > cd->cd_blocks - block) {
		sense(c->c_answer, KEY_ILLEGAL, ASC_RANGE);
		return;
	}
	c->c_answer->sa_offset = block * BLOCK;
	c->c_answer->sa_length = count * BLOCK;
}

static void
cd_read6(struct command *c)
{
	cd_read(c, get(c, 1, 3) & 0x1fffff,
	    c->c_cdb[4] == 0 ? 256 : c->c_cdb[4]);
}

static void
cd_read10(struct command *c)
{
	cd_read(c, get(c, 2, 4), get(c, 7, 2));
}

static void
cd_read12(struct command *c)
{
	cd_read(c, get(c, 2, 4), get(c, 6, 4));
}

/* SEEK, VERIFY: only whether the place is there. */
static void
cd_seek(struct command *c)
{
	if (get(c, 2, 4) >= c->c_cd->cd_blocks)
		sense(c->c_answer, KEY_ILLEGAL, ASC_RANGE);
}

static void
cd_read_capacity(struct command *c)
{
	put(c, c->c_cd->cd_blocks > UINT32_MAX ? UINT32_MAX :
	    c->c_cd->cd_blocks - 1, 4);
	put(c, BLOCK, 4);
}

static void
toc_track(struct command *c, uint8_t track, uint64_t block, bool msf)
{
	put(c, 0, 1);
	put(c, 0x14, 1);		/* data, digital copy forbidden */
	put(c, track, 1);
	put(c, 0, 1);
	put_address(c, block, msf);
}

/* One track of data in one session. */
static void
cd_read_toc(struct command *c)
{
	const bool msf = (c->c_cdb[1] & 0x02) != 0;
	const uint8_t track = c->c_cdb[6];
	unsigned format = c->c_cdb[2] & 0x0f;

	if (format == 0)
		format = c->c_cdb[9] >> 6;	/* where SFF-8020 had it */
	if (format > 1 || (format == 0 && track > 1 && track != LEAD_OUT)) {
		illegal_field(c);
		return;
	}
	put(c, 0, 2);			/* length */
	put(c, 0x0101, 2);		/* first and last track or session */
	if (format == 1 || track <= 1)
		toc_track(c, 1, 0, msf);
	if (format == 0)
		toc_track(c, LEAD_OUT, c->c_cd->cd_blocks, msf);
	set_length(c, 0, 2);
	cut(c, get(c, 7, 2));
}

static void
cd_read_disc_info(struct command *c)
{
	put(c, 32, 2);
	put(c, 0x0e, 1);		/* complete disc, complete session */
	put(c, 1, 1);			/* first track */
	put(c, 1, 1);			/* sessions */
	put(c, 0x0101, 2);		/* tracks of the last one */
	put(c, 0x20, 1);		/* unrestricted use */
	put(c, 0, 8);
	put(c, UINT64_MAX, 8);		/* lead-in and -out: none */
	put(c, 0, 8);
	put(c, 0, 2);
	cut(c, get(c, 7, 2));
}

/* --- the drive ----------------------------------------------------------- */

static void
cd_prevent(struct command *c)
{
	c->c_cd->cd_locked = (c->c_cdb[4] & 0x01) != 0;
}

static void
cd_start_stop(struct command *c)
{
	if ((c->c_cdb[4] & 0x02) == 0)	/* the motor alone */
		return;
	if ((c->c_cdb[4] & 0x01) != 0)
		c->c_cd->cd_open = false;
	else if (c->c_cd->cd_locked)
		sense(c->c_answer, KEY_ILLEGAL, ASC_LOCKED);
	else
		c->c_cd->cd_open = true;
}

/* Mode pages: what follows the page's number and length (MMC-5, 7). */
static const struct {
	uint8_t		page, len;
	uint8_t		data[20];
} mode_pages[] = {
	{ 0x01, 10, { 0x20, 0x03 } },		/* error recovery: 3 tries */
	/* capabilities: reads CD-R, CD-RW; multisession; locks, ejects, tray */
	{ 0x2a, 20, { 0x03, 0x00, 0x40, 0x00, 0x29, 0x00,
	    0x02, 0xc2, 0x00, 0x02, 0x00, 0x80, 0x02, 0xc2 } },
};
#define MODE_PAGES	(sizeof(mode_pages) / sizeof(mode_pages[0]))

static void
mode_sense(struct command *c, size_t header, uint32_t allocated)
{
	const uint8_t page = c->c_cdb[2] & 0x3f;
	size_t i, n = 0;

	if (c->c_cdb[3] != 0) {
		illegal_field(c);
		return;
	}
	put(c, 0, (unsigned)header);
	for (i = 0; i < MODE_PAGES; i++) {
		if (page != 0x3f && page != mode_pages[i].page)
			continue;
		n++;
		put(c, mode_pages[i].page, 1);
		put(c, mode_pages[i].len, 1);
		if ((c->c_cdb[2] & 0xc0) == 0x40) {	/* changeable: none */
			assert(mode_pages[i].len <= sizeof(mode_pages[i].data));
			put(c, 0, mode_pages[i].len);
			continue;
		}
		memcpy(c->c_answer->sa_data + c->c_answer->sa_len,
		    mode_pages[i].data, mode_pages[i].len);
		c->c_answer->sa_len += mode_pages[i].len;
	}
	if (n == 0) {
		illegal_field(c);
		return;
	}
	set_length(c, 0, header == 4 ? 1 : 2);
	cut(c, allocated);
}

static void
cd_mode_sense6(struct command *c)
{
	mode_sense(c, 4, c->c_cdb[4]);
}

static void
cd_mode_sense10(struct command *c)
{
	mode_sense(c, 8, get(c, 7, 2));
}

/* Features (MMC-5, 5.3): code, flags (version, persistent, current), data. */
static const struct {
	uint16_t	code;
	uint8_t		flags, len;
	uint8_t		data[8];
	uint16_t	profile;	/* current with this one; 0: always */
} features[] = {
	{ 0x0000, 0x03, 8, { 0x00, 0x10, 0, 0, 0x00, 0x08, 0, 0 }, 0 },
	{ 0x0001, 0x0b, 8, { 0, 0, 0, 0x01, 0x01, 0, 0, 0 }, 0 }, /* SCSI */
	{ 0x0003, 0x03, 4, { 0x29, 0, 0, 0 }, 0 },	/* removable: tray */
	{ 0x0010, 0x00, 8, { 0, 0, BLOCK >> 8, 0, 0, 0x01, 0, 0 }, 1 },
	{ 0x001e, 0x08, 4, { 0, 0, 0, 0 }, PROFILE_CD },
	{ 0x001f, 0x00, 4, { 0, 0, 0, 0 }, PROFILE_DVD },
};

static void
cd_get_configuration(struct command *c)
{
	const unsigned current = profile(c->c_cd);
	const uint8_t rt = c->c_cdb[1] & 0x03;
	const uint32_t first = get(c, 2, 2);
	uint8_t flags;
	size_t i, at;

	if (rt == 3) {
		illegal_field(c);
		return;
	}
	put(c, 0, 4);			/* length */
	put(c, current, 4);
	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		flags = features[i].flags;
		if (current != 0 && (features[i].profile == 1 ||
		    features[i].profile == current))
			flags |= 0x01;
		if (rt == 2 ? features[i].code != first :
		    features[i].code < first || (rt == 1 && !(flags & 0x01)))
			continue;
		put(c, features[i].code, 2);
		put(c, flags, 1);
		put(c, features[i].len, 1);
		at = c->c_answer->sa_len;
		put(c, 0, features[i].len);
		memcpy(c->c_answer->sa_data + at, features[i].data,
		    features[i].len);
		if (features[i].code == 0 && current != 0)
			c->c_answer->sa_data[at +
			    (current == PROFILE_DVD ? 2 : 6)] = 0x01;
	}
	set_length(c, 0, 4);
	cut(c, get(c, 7, 2));
}

#define EVENT_MEDIA	4

static void
cd_get_event(struct command *c)
{
	const bool media = (c->c_cdb[4] & 1 << EVENT_MEDIA) != 0;

	if ((c->c_cdb[1] & 0x01) == 0) {	/* only when asked */
		illegal_field(c);
		return;
	}
	put(c, 0, 2);
	put(c, media ? EVENT_MEDIA : 0x80, 1);	/* else no class at all */
	put(c, 1 << EVENT_MEDIA, 1);
	if (media) {
		put(c, 0, 1);			/* nothing happened */
		put(c, c->c_cd->cd_open ? 0x01 : 0x02, 1);
		put(c, 0, 2);
	}
	set_length(c, 0, 2);
	cut(c, get(c, 7, 2));
}

static void
cd_mechanism_status(struct command *c)
{
	put(c, 0, 1);
	put(c, c->c_cd->cd_open ? 0x10 : 0, 1);	/* door open */
	put(c, 0, 6);
	cut(c, get(c, 8, 2));
}

/* --- the table ----------------------------------------------------------- */

#define NEEDS_DISC	0x01
#define ANY_LUN		0x02

static const struct row {
	uint8_t	r_opcode, r_flags;
	void	(*r_do)(struct command *);
} rows[] = {
	{ 0x00, NEEDS_DISC,	cd_nothing },		/* TEST UNIT READY */
	{ 0x03, ANY_LUN,	cd_request_sense },
	{ 0x08, NEEDS_DISC,	cd_read6 },
	{ 0x12, ANY_LUN,	cd_inquiry },
	{ 0x1a, 0,		cd_mode_sense6 },
	{ 0x1b, 0,		cd_start_stop },
	{ 0x1e, 0,		cd_prevent },
	{ 0x25, NEEDS_DISC,	cd_read_capacity },
	{ 0x28, NEEDS_DISC,	cd_read10 },
	{ 0x2b, NEEDS_DISC,	cd_seek },
	{ 0x2f, NEEDS_DISC,	cd_seek },		/* VERIFY(10) */
	{ 0x43, NEEDS_DISC,	cd_read_toc },
	{ 0x46, 0,		cd_get_configuration },
	{ 0x4a, 0,		cd_get_event },
	{ 0x51, NEEDS_DISC,	cd_read_disc_info },
	{ 0x5a, 0,		cd_mode_sense10 },
	{ 0xa0, ANY_LUN,	cd_report_luns },
	{ 0xa8, NEEDS_DISC,	cd_read12 },
	{ 0xbb, 0,		cd_nothing },		/* SET CD SPEED */
	{ 0xbd, 0,		cd_mechanism_status },
};

static const struct row *
find_row(uint8_t opcode)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].r_opcode == opcode)
			return (&rows[i]);
	return (NULL);
}

void
scsi_cd_command(struct scsi_cd *cd, unsigned lun,
    const uint8_t cdb[SCSI_CDB_MAX], struct scsi_answer *a)
{
	const struct row *row = find_row(cdb[0]);
	struct command c = { .c_cd = cd, .c_cdb = cdb, .c_lun = lun,
		.c_answer = a };

	memset(a, 0, sizeof(*a));
	if (lun != 0 && (row == NULL || !(row->r_flags & ANY_LUN)))
		sense(a, KEY_ILLEGAL, ASC_NO_LUN);
	else if (row == NULL)
		sense(a, KEY_ILLEGAL, ASC_OPCODE);
	else if ((row->r_flags & NEEDS_DISC) &&
	    (cd->cd_open || cd->cd_blocks == 0))
		sense(a, KEY_NOT_READY, ASC_NO_MEDIUM);
	else
		row->r_do(&c);
}

void
scsi_cd_medium_error(struct scsi_answer *a)
{
	sense(a, KEY_MEDIUM_ERROR, ASC_UNRECOVERED);
}

void
scsi_cd_init(struct scsi_cd *cd, uint64_t size, const char serial[20])
{
	memset(cd, 0, sizeof(*cd));
	cd->cd_blocks = size / BLOCK;
	memcpy(cd->cd_serial, serial, sizeof(cd->cd_serial));
}

void
scsi_cd_state(struct scsi_cd *cd, struct state *s)
{
	state_begin(s, "CD-ROM drive", 0, 1);
	state_same(s, "disc's size in blocks", cd->cd_blocks);
	state_bool(s, &cd->cd_locked);
	state_bool(s, &cd->cd_open);
	state_end(s);
}
