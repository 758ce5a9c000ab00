/*
 * The escapes ~. ~? ~^Z and ~~; see terminal.h.
 *
 * A '~' at the start of a line is held back until the next byte shows what it
 * is; the guest gets both if it is no escape.
 */
#include "vmctl/terminal.h"

#define CTRL_Z	0x1A

void
escape_init(struct escape *e, void (*action)(void *, char), void *arg)
{
	e->e_state = ESCAPE_LINE_START;
	e->e_action = action;
	e->e_arg = arg;
}

size_t
escape_filter(void *arg, uint8_t byte, uint8_t out[2])
{
	struct escape *e = arg;
	size_t n = 0;

	if (e->e_state == ESCAPE_LINE_START && byte == '~') {
		e->e_state = ESCAPE_TILDE;
		return (0);
	}
	if (e->e_state == ESCAPE_TILDE) {
		switch (byte) {
		case '.':
		case '?':
		case CTRL_Z:
			e->e_state = ESCAPE_LINE_START;
			e->e_action(e->e_arg, byte == CTRL_Z ? 'z' :
			    (char)byte);
			return (0);
		case '~':
			break;		/* one of the two */
		default:
			out[n++] = '~';
			break;
		}
	}
	e->e_state = byte == '\r' || byte == '\n' ? ESCAPE_LINE_START :
	    ESCAPE_IN_LINE;
	out[n++] = byte;
	return (n);
}
