/*
 * VM ids, unique on the host.
 *
 * 1. An id in use is an abstract Unix socket "vmm/ID" that the VM's process
 *    listens on. The kernel ends it with the process, however that dies, and
 *    no two processes can have the same one.
 * 2. Ids count up and are not used again while the host is up: the counter is
 *    a word of System V shared memory, which no process's end takes away.
 *    Everybody may write it, so nothing but the order of ids hangs on it; where
 *    it cannot be had, ids count up from the highest in use.
 *
 * Any thread.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/monitor.h"

#define HOSTID_KEY	0x766d6d34	/* "vmm4" */
#define HOSTID_TRIES	4096
#define HOSTID_BACKLOG	128

unsigned
hostid_address(uint32_t id, struct sockaddr_un *sun)
{
	int len;

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	len = snprintf(sun->sun_path + 1, sizeof(sun->sun_path) - 1, "vmm/%u",
	    id);
	return ((unsigned)(offsetof(struct sockaddr_un, sun_path) + 1 +
	    (size_t)len));
}

static int
id_compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x < *y ? -1 : *x > *y);
}

/*
 * Reads the id out of a line of /proc/net/unix that shows a listening socket
 * of a VM; 0 for any other line. Other people choose names, too.
 */
static uint32_t
line_id(const char *line)
{
	const unsigned long listening = 0x10000;
	unsigned long flags, id;
	const char *name;
	char *end;

	if (sscanf(line, "%*s %*s %*s %lx", &flags) != 1 ||
	    (flags & listening) == 0 ||
	    (name = strstr(line, " @vmm/")) == NULL)
		return (0);
	name += strlen(" @vmm/");
	if (*name < '1' || *name > '9')
		return (0);
	errno = 0;
	id = strtoul(name, &end, 10);
	if (errno != 0 || id > UINT32_MAX || (*end != '\n' && *end != '\0'))
		return (0);
	return ((uint32_t)id);
}

size_t
hostid_list(uint32_t **ids)
{
	uint32_t *list = NULL, *more, id;
	size_t n = 0, room = 0, i, kept = 0, len = 0;
	char *line = NULL;
	FILE *f;

	*ids = NULL;
	if ((f = fopen("/proc/net/unix", "re")) == NULL)
		return (0);
	while (getline(&line, &len, f) != -1) {
		if ((id = line_id(line)) == 0)
			continue;
		if (n == room) {
			room = room * 2 + 16;
			more = reallocarray(list, room, sizeof(*list));
			if (more == NULL)
				break;
			list = more;
		}
		list[n++] = id;
	}
	free(line);
	fclose(f);
	if (n == 0) {
		free(list);
		return (0);
	}
	qsort(list, n, sizeof(*list), id_compare);
	for (i = 0; i < n; i++)
		if (i == 0 || list[i] != list[kept - 1])
			list[kept++] = list[i];
	*ids = list;
	return (kept);
}

static uint32_t
highest_id(void)
{
	uint32_t *ids, highest = 0;
	size_t n;

	if ((n = hostid_list(&ids)) != 0)
		highest = ids[n - 1];
	free(ids);
	return (highest);
}

/* The host's counter, or NULL. It holds the last id given out. */
static atomic_uint *
counter_attach(void)
{
	void *p;
	int shm;

	shm = shmget(HOSTID_KEY, sizeof(uint32_t), IPC_CREAT | 0666);
	if (shm == -1 || (p = shmat(shm, NULL, 0)) == (void *)-1)
		return (NULL);
	return (p);
}

/* A socket that listens under the id, or -1 and errno. */
static int
hostid_bind(uint32_t id)
{
	struct sockaddr_un sun;
	unsigned len = hostid_address(id, &sun);
	int fd, error;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return (-1);
	if (bind(fd, (struct sockaddr *)&sun, len) == 0 &&
	    listen(fd, HOSTID_BACKLOG) == 0)
		return (fd);
	error = errno;
	close(fd);
	errno = error;
	return (-1);
}

int
hostid_claim(uint32_t *idp)
{
	atomic_uint *counter = counter_attach(), local = 0;
	unsigned zero = 0;
	uint32_t id;
	int fd = -1, tries;

	if (counter == NULL)
		counter = &local;
	/* A new counter goes on from where its like may have been. */
	if (atomic_load(counter) == 0)
		atomic_compare_exchange_strong(counter, &zero,
		    highest_id());
	errno = EAGAIN;
	for (tries = 0; fd == -1 && tries < HOSTID_TRIES; tries++) {
		id = atomic_fetch_add(counter, 1) + 1;
		if (id == 0)
			continue;
		*idp = id;
		if ((fd = hostid_bind(id)) == -1 && errno != EADDRINUSE)
			break;
	}
	if (counter != &local)
		shmdt(counter);
	return (fd);
}
