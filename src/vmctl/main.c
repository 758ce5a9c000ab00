/*
 * vmctl: the command line of vmm; see vmctl(8).
 *
 * A command's name may be shortened as long as one command alone begins so.
 */
#include "vmctl/vmctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/program.h"
#include "vmctl/daemon.h"

static int	help_command(const struct command *, int, char **);

static const struct command commands[] = {
	{ "run", run_command, "[options] [name]",
	    "start a VM in the foreground, its console on this terminal",
	    "-b file             boot this: a Linux bzImage, an ELF file with "
	    "a PVH note,\n"
	    "                    a multiboot ELF file, a firmware image\n"
	    "                    (the default is SeaBIOS, which boots from "
	    "disks)\n"
	    "-B device           what the firmware tries first: disk, cdrom, "
	    "net\n"
	    "--initrd file       Linux: the initrd. multiboot: a module "
	    "\"file,arguments\",\n"
	    "                    may be repeated\n"
	    "--append words      the kernel's command line\n"
	    "-m size             memory, as 512M (the default) or 2G\n"
	    "-d disk             attach a disk image, raw or qcow2; up to 4\n"
	    "-r file             attach a CD-ROM drive with this image\n"
	    "--net none          no network interface\n"
	    "--net user[,hostfwd=tcp:host:port-guestport]...\n"
	    "                    an interface behind user-mode NAT (the "
	    "default);\n"
	    "                    connections to the host's port go to the "
	    "guest's\n"
	    "--net user[,tftp=folder][,bootfile=name]\n"
	    "                    what DHCP and TFTP tell who boots with -B "
	    "net\n"
	    "--net switch=name   an interface on a switch of vmd's\n"
	    "--net tap[=name][,bridge=name]\n"
	    "                    a tap of the host, on that bridge (root)\n"
	    "--engine auto|kvm|soft\n"
	    "                    the CPU engine; see \"vmctl info\"\n"
	    "-q, --quiet         do not tell of an engine that does not work "
	    "here\n"
	    "--stats             print what the CPU engine counted at the "
	    "end,\n"
	    "                    and on SIGUSR1\n"
	    "--trace file        write a line for each exit to a device\n"
	    "--diag-state n      n times, save the state of all devices, "
	    "reset them\n"
	    "                    and load it\n"
	    "--timeout seconds   end the VM then, with status 124\n"
	    "--no-reboot         end the VM when the guest resets or crashes\n"
	    "--exit-port port    end the VM when the guest writes v to this "
	    "I/O port,\n"
	    "                    with status (v << 1) | 1\n" },
	{ "create", create_command, "[-b base | -i disk] [-s size] disk",
	    "make a disk image",
	    "-b base  a qcow2 image that begins as what base holds, and needs "
	    "it\n"
	    "-i disk  with the content of another image\n"
	    "-s size  as 10G; rounded down to megabytes\n"
	    "The format is raw or qcow2: said in front (qcow2:disk), or by "
	    "the extension\n"
	    "(disk.qcow2), else raw.\n" },
	{ "start", start_command, "[options] id | name",
	    "start a VM that vmd keeps: a configured one, or with options a "
	    "new one",
	    "-c                  go on with its console, as \"vmctl console\" "
	    "does\n"
	    "-m size             memory, as 512M (the default) or 2G\n"
	    "-d disk             attach a disk image, raw or qcow2; up to 4\n"
	    "-r file             a CD-ROM image\n"
	    "-b file             boot this: a kernel or a BIOS image\n"
	    "-B disk|cdrom|net   the device that the BIOS boots from\n"
	    "--initrd file       with a Linux kernel, its initrd\n"
	    "--append words      the kernel's command line\n"
	    "-i count            so many network interfaces; without -i, -L, "
	    "-n and --net\n"
	    "                    there is one, behind user-mode NAT\n"
	    "-n switch           an interface on this switch\n"
	    "-L                  a local interface, with an address from vmd\n"
	    "--net network       as in \"vmctl run\"\n"
	    "-t name             an instance of this VM\n"
	    "--cpus count        virtual CPUs\n"
	    "--engine auto|kvm|soft\n"
	    "                    the CPU engine\n" },
	{ "console", console_command, "id | name",
	    "this terminal becomes a VM's console; ~. leaves", NULL },
	{ "status", status_command, "[-j] [id | name]", "list the host's VMs",
	    "-j, --json  as JSON\n" },
	{ "show", status_command, "[-j] [id | name]", "the same as status",
	    "-j, --json  as JSON\n" },
	{ "stop", stop_command, "[-fw] -a | id | name", "end VMs",
	    "Without -f the guest is asked to shut down, and ended if it does "
	    "not.\n"
	    "-f  end at once, as pulling the plug does\n"
	    "-w  wait until it has ended\n"
	    "-a  all of vmd's; those in the foreground go on\n" },
	{ "wait", wait_command, "id | name", "wait until a VM has ended",
	    NULL },
	{ "pause", pause_command, "id | name", "hold a VM", NULL },
	{ "unpause", pause_command, "id | name", "let a held VM go on", NULL },
	{ "load", load_command, "file", "add a file of VMs to vmd's", NULL },
	{ "reload", reload_command, "",
	    "have vmd read its configuration anew", NULL },
	{ "reset", reset_command, "[all | switches | vms]",
	    "end VMs and forget what is configured", NULL },
	{ "log", log_command, "brief | verbose", "how much vmd logs", NULL },
	{ "help", help_command, "[command]",
	    "tell of the commands, or of one", NULL },
	{ "info", info_command, "[-j]", "tell which CPU engines work here",
	    "-j, --json  as JSON\n" },
};

#define NCOMMANDS	(sizeof(commands) / sizeof(commands[0]))

int
complain(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	char *p;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (p = line; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';	/* a file name stays on the line */
	log_warn("%s", line);
	return (STATUS_ERROR);
}

int
bad_option(const struct command *c, char **argv, int opt)
{
	const char *word = argv[optind - 1];
	const char *how;

	if (opt == ':')
		how = "needs a value";
	else if (optopt > 0xFF)
		how = "takes no value";
	else
		how = "is unknown";
	if (strncmp(word, "--", 2) != 0 && optopt > 0 && optopt <= 0xFF)
		return (complain("%s: option -%c %s; see \"vmctl %s --help\"",
		    c->c_name, optopt, how, c->c_name));
	return (complain("%s: option %s %s; see \"vmctl %s --help\"",
	    c->c_name, word, how, c->c_name));
}

int
help(const struct command *c)
{
	printf("usage: vmctl %s%s%s\n%s.\n", c->c_name,
	    c->c_args[0] == '\0' ? "" : " ", c->c_args, c->c_what);
	if (c->c_help != NULL)
		printf("\n%s", c->c_help);
	return (0);
}

static int
help_all(void)
{
	size_t i;

	printf("usage: vmctl [-v] command [argument ...]\n\n");
	for (i = 0; i < NCOMMANDS; i++)
		printf("    %-34s %s\n%s%s%s", commands[i].c_name,
		    commands[i].c_what, commands[i].c_args[0] == '\0' ? "" :
		    "        ", commands[i].c_args,
		    commands[i].c_args[0] == '\0' ? "" : "\n");
	printf("\n-v, --verbose  say more; twice: still more\n"
	    "--version      print the version\n"
	    "--help         print this, or after a command, its options\n");
	return (0);
}

/* The command that a word stands for, or NULL with a line said. */
static const struct command *
command_find(const char *word)
{
	const struct command *found = NULL;
	size_t i, len = strlen(word);

	for (i = 0; i < NCOMMANDS; i++) {
		if (strcmp(commands[i].c_name, word) == 0)
			return (&commands[i]);
		if (strncmp(commands[i].c_name, word, len) != 0)
			continue;
		if (found != NULL) {
			complain("%s is ambiguous: %s, %s...; "
			    "see \"vmctl --help\"", word, found->c_name,
			    commands[i].c_name);
			return (NULL);
		}
		found = &commands[i];
	}
	if (found == NULL)
		complain("there is no command %s; see \"vmctl --help\"", word);
	return (found);
}

static int
help_command(const struct command *c, int argc, char **argv)
{
	const struct command *about;

	if (argc > 2)
		return (complain("%s: one command only", c->c_name));
	if (argc < 2)
		return (help_all());
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return (help(c));
	if ((about = command_find(argv[1])) == NULL)
		return (STATUS_ERROR);
	return (help(about));
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	const struct command *c;
	int level = LOG_LEVEL_WARN, opt, status;

	program_begin();
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:hvV", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			status = help_all();
			goto done;
		case 'V':
			printf("vmctl %s\n", VMM_VERSION);
			status = 0;
			goto done;
		case 'v':
			if (level < LOG_LEVEL_DEBUG)
				level++;
			break;
		default:
			return (complain("option %s is unknown; "
			    "see \"vmctl --help\"", argv[optind - 1]));
		}
	}
	log_set_level((enum log_level)level);
	if (optind == argc)
		return (complain("no command; see \"vmctl --help\""));
	c = command_find(argv[optind]);
	if (c == NULL)
		return (STATUS_ERROR);
	argc -= optind;
	argv += optind;
	optind = 0;		/* glibc: start over, with another optstring */
	status = c->c_run(c, argc, argv);
done:
	if (fflush(stdout) != 0 && status == 0)
		status = complain("standard output: %s", strerror(errno));
	return (status);
}
