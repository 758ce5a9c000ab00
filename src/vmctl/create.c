/*
 * "vmctl create": makes disk images.
 *
 * Threads: main. Signals only set a flag, which the copying looks at; what is
 * killed leaves nothing (storage/create.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/create.h"
#include "vmctl/vmctl.h"

#define MIB		(1ULL << 20)
#define BAR_COLUMNS	40u

static volatile sig_atomic_t create_signal;

static void
create_interrupted(int signo)
{
	create_signal = signo;
}

struct bar {
	bool		 b_shown;
	unsigned	 b_percent;	/* that is on the terminal */
};

/* A line on the terminal, drawn anew when it changes. */
static bool
create_progress(void *arg, uint64_t done, uint64_t all)
{
	struct bar *b = arg;
	unsigned percent = (unsigned)(done / (all / 100 + 1));
	char bar[BAR_COLUMNS + 1];

	if (done == all)
		percent = 100;
	if (create_signal != 0)
		return (false);
	if (!b->b_shown || percent == b->b_percent)
		return (true);
	b->b_percent = percent;
	memset(bar, ' ', BAR_COLUMNS);
	memset(bar, '#', percent * BAR_COLUMNS / 100);
	bar[BAR_COLUMNS] = '\0';
	fprintf(stderr, "\r[%s] %3u%%", bar, percent);
	if (done == all)
		fputc('\n', stderr);
	fflush(stderr);
	return (true);
}

static void
create_catch(void (*handler)(int))
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction sa = { .sa_handler = handler };
	struct sigaction old;
	size_t i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaction(signals[i], &sa, NULL);
}

static int
create_size_option(const struct command *c, const char *word, uint64_t *size)
{
	struct err err;

	if (parse_size(word, size, &err) == -1)
		return (complain("%s: -s: %s", c->c_name, err.e_text));
	if (*size < MIB)
		return (complain("%s: -s: %s is less than 1M; a number "
		    "without a suffix counts bytes", c->c_name, word));
	if (*size % MIB != 0) {
		*size -= *size % MIB;
		log_say("size rounded to %llu megabytes", *size / MIB);
	}
	return (0);
}

static int
create_image(struct image_create *ic, struct bar *bar)
{
	struct err err;
	int ret;

	ic->ic_progress = create_progress;
	ic->ic_arg = bar;
	create_catch(create_interrupted);
	ret = image_create(ic, &err);
	create_catch(SIG_DFL);
	if (ret == 0) {
		log_say("%s imagefile created",
		    image_format_name(ic->ic_format));
		return (0);
	}
	if (bar->b_shown && bar->b_percent <= 100)
		fputc('\n', stderr);
	complain("%s", err.e_text);
	return (create_signal != 0 ? STATUS_SIGNAL + create_signal :
	    STATUS_ERROR);
}

int
create_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	struct image_create ic = { 0 };
	struct bar bar = { .b_shown = isatty(STDERR_FILENO) == 1,
	    .b_percent = UINT32_MAX };
	int opt;

	while ((opt = getopt_long(argc, argv, ":b:hi:s:", options, NULL)) !=
	    -1) {
		switch (opt) {
		case 'b':
			ic.ic_base = optarg;
			break;
		case 'h':
			return (help(c));
		case 'i':
			ic.ic_input = optarg;
			break;
		case 's':
			if (create_size_option(c, optarg, &ic.ic_size) != 0)
				return (STATUS_ERROR);
			break;
		default:
			return (bad_option(c, argv, opt));
		}
	}
	if (optind + 1 != argc)
		return (complain("%s: name one disk; see \"vmctl create "
		    "--help\"", c->c_name));
	if (ic.ic_base != NULL && ic.ic_input != NULL)
		return (complain("%s: -b and -i exclude each other",
		    c->c_name));
	if (ic.ic_base == NULL && ic.ic_input == NULL && ic.ic_size == 0)
		return (complain("%s: how large? Say so with -s, as in -s "
		    "10G", c->c_name));
	ic.ic_path = argv[optind];
	ic.ic_format = image_format_of_name(&ic.ic_path);
	if (ic.ic_base != NULL && ic.ic_format != IMAGE_QCOW2)
		return (complain("%s: only a qcow2 image can have a base: say "
		    "qcow2:%s", c->c_name, ic.ic_path));
	return (create_image(&ic, &bar));
}
