/*
 * agent: what runs the rows, at the command of who measures.
 *
 * It reads lines "NAME MILLISECONDS" and answers each with one line:
 *
 *	@@ NAME NANOSECONDS TIMES VALUE SPENT CPU
 *				how long each time took, how often it ran, what
 *				it computed; milliseconds spent on the answer,
 *				and those of a CPU that the row had
 *	@@ NAME error TEXT
 *
 * A row is a command of the table below, whose time is that of the process, or
 * a workload of work(1) or io(1), which take their time themselves. The same
 * file runs as the first process of a virtual machine, with its console as
 * standard input and output, and in a chroot, with pipes. It says "@@ready"
 * when it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT	"/tmp/output"	/* what a row prints, or makes */
#define WORDS	12

/* What a row's output says. */
enum answer {
	ANSWER_TIMED,		/* something: its digest is the value */
	ANSWER_WORK,		/* nanoseconds, times, value */
	ANSWER_OPENSSL,		/* how often in how many seconds */
};

static const struct row {
	const char	*r_name;
	enum answer	 r_answer;
	unsigned	 r_times;	/* what the command does so often */
	const char	*r_argv[WORDS];
} rows[] = {
	{ "openssl-sha256", ANSWER_OPENSSL, 1, { "/usr/bin/openssl", "speed",
	    "-mr", "-elapsed", "-seconds", "1", "-bytes", "8192", "-evp",
	    "sha256" } },
	{ "openssl-aes-gcm", ANSWER_OPENSSL, 1, { "/usr/bin/openssl", "speed",
	    "-mr", "-elapsed", "-seconds", "1", "-bytes", "8192", "-evp",
	    "aes-128-gcm" } },
	{ "openssl-rsa2048", ANSWER_OPENSSL, 1, { "/usr/bin/openssl", "speed",
	    "-mr", "-elapsed", "-seconds", "1", "rsa2048" } },
	{ "python-nbody", ANSWER_TIMED, 1, { "/usr/bin/python3", "-S",
	    "/bench/src/nbody.py", "40000" } },
	{ "bash-fork-exec", ANSWER_TIMED, 300, { "/bin/bash", "-c",
	    "for ((i = 0; i < 300; i++)); do /bin/true; done" } },
	{ "bash-loop", ANSWER_TIMED, 1, { "/bin/bash", "-c", "for ((i = s = 0; "
	    "i < 200000; i++)); do ((s += i % 7)); done; echo $s" } },
	{ "gcc", ANSWER_TIMED, 1, { "/usr/bin/gcc", "-O2", "-c", "-o", OUTPUT,
	    "/bench/large.c" } },
	{ "xz", ANSWER_TIMED, 1, { "/usr/bin/xz", "-1", "-T1", "-k", "-c",
	    "/bench/text" } },
	{ "sqlite", ANSWER_TIMED, 1, { "/usr/bin/sqlite3", ":memory:",
	    ".read /bench/src/inserts.sql" } },
};

static const char *const environment[] = {
	"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C",
	"OPENSSL_CONF=/dev/null", "PYTHONDONTWRITEBYTECODE=1", NULL,
};

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

/* FNV-1a of the output, and its beginning as a string. */
static uint64_t
output_read(char *text, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325u;
	char buf[65536];
	size_t used = 0;
	ssize_t i, n;
	int fd;

	if ((fd = open(OUTPUT, O_RDONLY)) == -1)
		return (0);
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < n; i++) {
			hash = (hash ^ (uint8_t)buf[i]) * 0x100000001b3u;
			if (used < size - 1 && buf[i] != '\0')
				text[used++] = buf[i];
		}
	}
	close(fd);
	text[used] = '\0';
	return (hash);
}

/* Runs a command with its output in OUTPUT: nanoseconds, or 0 if it failed. */
static uint64_t
command(const char *const *argv)
{
	const uint64_t start = now();
	uint64_t took;
	int fd, status;
	pid_t pid;

	switch (pid = fork()) {
	case -1:
		return (0);
	case 0:
		fd = open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND,
		    0644);
		if (fd == -1 || dup2(fd, 1) == -1 || dup2(fd, 2) == -1 ||
		    (fd = open("/dev/null", O_RDONLY)) == -1 ||
		    dup2(fd, 0) == -1)
			_exit(126);
		execve(argv[0], (char *const *)(uintptr_t)argv,
		    (char *const *)(uintptr_t)environment);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return (0);
	took = now() - start;
	/* What lost its parent is ours, if we are the first process. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return (status == 0 ? took : 0);
}

/* Milliseconds of a CPU that the children had. */
static uint64_t
cpu_had(void)
{
	struct rusage ru;

	getrusage(RUSAGE_CHILDREN, &ru);
	return ((uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000 +
	    (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1000);
}

/* openssl's "+R:TIMES:NAME:SECONDS" or "+R1:TIMES:BITS:SECONDS". */
static int
openssl_answer(const char *text, double *ns, unsigned long long *times)
{
	const char *line = strstr(text, "+R");
	double seconds;

	if (line == NULL ||
	    sscanf(line, "+R%*[1]:%llu:%*[^:]:%lf", times, &seconds) != 2)
		if (line == NULL || sscanf(line, "+R:%llu:%*[^:]:%lf", times,
		    &seconds) != 2)
			return (0);
	*ns = seconds * 1e9 / (double)*times;
	return (*times != 0);
}

static void
answer(const char *name, const char *milliseconds)
{
	const int io = strncmp(name, "disk-", 5) == 0 ||
	    strncmp(name, "net-", 4) == 0;
	const char *const work[] = { io ? "/bench/io" : "/bench/work", name,
	    milliseconds, NULL };
	const struct row *r = rows, *const end = rows +
	    sizeof(rows) / sizeof(rows[0]);
	const uint64_t start = now(), cpu = cpu_had();
	enum answer kind = ANSWER_WORK;
	unsigned long long times = 1, value;
	const char *const *argv = work;
	uint64_t took;
	char text[4096], *p;
	double ns = 0;
	int ok = 0;

	for (; r < end; r++) {
		if (strcmp(name, r->r_name) == 0) {
			kind = r->r_answer;
			argv = r->r_argv;
			times = r->r_times;
			break;
		}
	}
	took = command(argv);
	value = output_read(text, sizeof(text));
	if (took != 0) {
		switch (kind) {
		case ANSWER_TIMED:
			ns = (double)took / (double)times;
			ok = 1;
			break;
		case ANSWER_WORK:
			ok = sscanf(text, "%lf %llu %llx", &ns, &times,
			    &value) == 3;
			break;
		case ANSWER_OPENSSL:
			ok = openssl_answer(text, &ns, &times);
			value = 0;
			break;
		}
	}
	if (ok) {
		printf("@@ %s %.4f %llu %016llx %llu %llu\n", name, ns, times,
		    value, (unsigned long long)(now() - start) / 1000000,
		    (unsigned long long)(cpu_had() - cpu));
	} else {
		for (p = text; *p != '\0'; p++)
			if (*p == '\n' || *p == '\r')
				*p = ' ';
		printf("@@ %s error %.200s\n", name, text);
	}
	fflush(stdout);
}

/* The first process: nothing is mounted but /dev, and nothing must echo. */
static void
first(void)
{
	struct termios t;

	(void)mount("proc", "/proc", "proc", 0, NULL);
	(void)mount("sysfs", "/sys", "sysfs", 0, NULL);
	(void)mount("tmpfs", "/tmp", "tmpfs", 0, "size=60%");
	if (tcgetattr(0, &t) == 0) {
		cfmakeraw(&t);
		t.c_oflag |= OPOST | ONLCR;
		tcsetattr(0, TCSANOW, &t);
	}
}

int
main(void)
{
	char line[128], name[64], milliseconds[32];

	if (getpid() == 1 && getenv("BENCH_NATIVE") == NULL)
		first();
	printf("\n@@ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		if (sscanf(line, "%63s %31s", name, milliseconds) == 2)
			answer(name, milliseconds);
	return (0);
}
