/*
 * vmd: the command line; see vmd(8).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/program.h"
#include "vmd/daemon.h"
#include "vmd/switch.h"
#include "vmd/vmprocess.h"

#define MACROS_MAX	64

static int
help(void)
{
	printf("usage: vmd [-dnv] [-D macro=value] [-f file]\n\n"
	    "Keeps the virtual machines of a host; vmctl(8) controls it.\n\n"
	    "-d              stay in the foreground, log to standard error\n"
	    "-D macro=value  define a macro, which the file cannot change\n"
	    "-f file         read this file, not the default one\n"
	    "-n              check the configuration and exit\n"
	    "-v              say more; twice: still more\n"
	    "--version       print the version\n"
	    "--help          print this\n");
	return (fflush(stdout) == 0 ? 0 : 1);
}

static int
usage(const char *what, const char *word)
{
	log_warn("%s%s; see \"vmd --help\"", what, word);
	return (1);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	struct config_macro macros[MACROS_MAX];
	struct daemon_options o = { .do_macros = macros };
	bool check = false;
	char *equals;
	int opt;

	program_begin();
	if (argc == 2 && strcmp(argv[1], CONTROL_VM_PROCESS) == 0)
		return (vmprocess_main());
	if (argc == 2 && strcmp(argv[1], SWITCH_OPTION) == 0)
		return (switch_main());
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":D:df:hnvV", options,
	    NULL)) != -1) {
		switch (opt) {
		case 'D':
			equals = strchr(optarg, '=');
			if (equals == NULL || equals == optarg)
				return (usage("-D needs macro=value, not ",
				    optarg));
			if (o.do_nmacros == MACROS_MAX)
				return (usage("there are too many macros", ""));
			*equals = '\0';
			macros[o.do_nmacros++] = (struct config_macro){
			    optarg, equals + 1 };
			break;
		case 'd':
			o.do_foreground = true;
			break;
		case 'f':
			o.do_file = optarg;
			break;
		case 'h':
			return (help());
		case 'n':
			check = true;
			break;
		case 'v':
			o.do_verbose++;
			break;
		case 'V':
			printf("vmd %s\n", VMM_VERSION);
			return (fflush(stdout) == 0 ? 0 : 1);
		case ':':
			return (usage("there is no value after ",
			    argv[optind - 1]));
		default:
			return (usage("there is no option ",
			    argv[optind - 1]));
		}
	}
	if (optind < argc)
		return (usage("there is a word too many: ", argv[optind]));
	log_set_level(o.do_verbose > 1 ? LOG_LEVEL_DEBUG :
	    o.do_verbose == 1 ? LOG_LEVEL_INFO : LOG_LEVEL_WARN);
	return (check ? daemon_check(&o) : daemon_main(&o));
}
