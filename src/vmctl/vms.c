/*
 * The host's VMs as VMM_IOC_INFO lists them, and the one that a word on the
 * command line means.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "vmctl/vmctl.h"

int
vms_open(struct err *err)
{
	int fd;

	fd = vmm_open();
	if (fd == -1 && errno == ENODEV)
		return (err_set(err, "no CPU engine works on this host"));
	if (fd == -1)
		return (err_sys(err, "cannot open the monitor"));
	return (fd);
}

static int
vms_compare(const void *va, const void *vb)
{
	const struct vm_info_result *a = va, *b = vb;

	return ((a->vir_id > b->vir_id) - (a->vir_id < b->vir_id));
}

bool
vms_kept(const struct vm_info_result *vm)
{
	char path[32], line[512], *p;
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline",
	    (int)vm->vir_creator_pid);
	f = fopen(path, "re");
	if (f == NULL)
		return (true);
	len = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	line[len] = '\0';
	p = line + strlen(line) + 1;	/* the first argument */
	return (len == 0 ||
	    (p < line + len && strcmp(p, CONTROL_VM_PROCESS) == 0));
}

/* Takes out those that a vmd keeps. */
static void
vms_only_foreground(struct vms *vms)
{
	size_t i, n = 0;

	for (i = 0; i < vms->v_count; i++)
		if (!vms_kept(&vms->v_vm[i]))
			vms->v_vm[n++] = vms->v_vm[i];
	vms->v_count = n;
}

int
vms_get(int vmm, bool kept, struct vms *vms, struct err *err)
{
	struct vm_info_params vip;
	size_t size = 64 * sizeof(struct vm_info_result);
	void *buf = NULL, *larger;
	int i;

	/* VMs may be born between the question for the size and the list. */
	for (i = 0; i < 16; i++) {
		larger = realloc(buf, size);
		if (larger == NULL)
			break;
		buf = larger;
		memset(&vip, 0, sizeof(vip));
		vip.vip_size = size;
		vip.vip_info = buf;
		if (vmm_ioctl(vmm, VMM_IOC_INFO, &vip) == -1)
			break;
		if (vip.vip_info_ct != 0 || vip.vip_size <= size) {
			vms->v_vm = buf;
			vms->v_count = vip.vip_info_ct;
			qsort(vms->v_vm, vms->v_count, sizeof(*vms->v_vm),
			    vms_compare);
			if (!kept)
				vms_only_foreground(vms);
			return (0);
		}
		size = vip.vip_size + 8 * sizeof(struct vm_info_result);
		errno = EAGAIN;
	}
	err_sys(err, "cannot list the VMs");
	free(buf);
	return (-1);
}

void
vms_free(struct vms *vms)
{
	free(vms->v_vm);
	vms->v_vm = NULL;
	vms->v_count = 0;
}

const struct vm_info_result *
vms_find(const struct vms *vms, const char *word, struct err *err)
{
	const struct vm_info_result *vm, *found = NULL;
	bool by_id = word[0] != '\0' && strspn(word, "0123456789") ==
	    strlen(word);
	size_t i;

	for (i = 0; i < vms->v_count; i++) {
		vm = &vms->v_vm[i];
		if (by_id ? strtoul(word, NULL, 10) != vm->vir_id :
		    strcmp(word, vm->vir_name) != 0)
			continue;
		if (found != NULL) {
			err_set(err, "several VMs are named %s; use the id "
			    "from \"vmctl status\"", word);
			return (NULL);
		}
		found = vm;
	}
	if (found == NULL)
		err_set(err, "there is no VM %s; \"vmctl status\" lists them",
		    word);
	return (found);
}

bool
vms_paused(const struct vm_info_result *vm)
{
	char path[32], line[512], *p;
	bool paused = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat",
	    (int)vm->vir_creator_pid);
	f = fopen(path, "re");
	if (f == NULL)
		return (false);
	/* pid (name) state ...: the name may hold anything */
	if (fgets(line, sizeof(line), f) != NULL &&
	    (p = strrchr(line, ')')) != NULL && p[1] == ' ')
		paused = p[2] == 'T' || p[2] == 't';
	fclose(f);
	return (paused);
}
