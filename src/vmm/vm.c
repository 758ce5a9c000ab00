/*
 * VMs: creation, lookup, references, the end.
 *
 * 1. The list holds one reference to each VM on it. A VM is on the list
 *    exactly while its id's socket is held (server.c), and off it from TERM on.
 * 2. After fork(2) the child has no VMs: the list is emptied there without
 *    touching the parent's, which stay what they were.
 *
 * Any thread. Manual: vmm(4), VMM_IOC_CREATE, INFO, TERM, ENABLE, WAIT.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "base/loop.h"
#include "vmm/monitor.h"

/* This process's VMs. [g] is this lock. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vm *list_head;	/* [g] ascending ids */
static pthread_once_t list_once = PTHREAD_ONCE_INIT;

static void
list_fork_prepare(void)
{
	pthread_mutex_lock(&list_lock);
}

static void
list_fork_parent(void)
{
	pthread_mutex_unlock(&list_lock);
}

static void
list_fork_child(void)
{
	list_head = NULL;
	pthread_mutex_unlock(&list_lock);
	call_distrust();
}

static void
list_init(void)
{
	pthread_atfork(list_fork_prepare, list_fork_parent, list_fork_child);
}

/* --- references ---------------------------------------------------------- */

static void
vm_free(struct vm *vm)
{
	unsigned i;

	if (vm == NULL)
		return;
	for (i = 0; i < vm->vm_ncpus; i++)
		vcpu_fini(&vm->vm_vcpu[i]);
	if (vm->vm_apic != NULL)
		apic_vm_free(vm->vm_apic);
	if (vm->vm_engine != NULL)
		vm->vm_ops->eo_vm_free(vm->vm_engine);
	pthread_mutex_destroy(&vm->vm_lock);
	free(vm);
}

void
vm_put(struct vm *vm)
{
	if (atomic_fetch_sub(&vm->vm_refs, 1) == 1)
		vm_free(vm);
}

/* The VM of that id with a reference, or NULL. */
static struct vm *
list_find(uint32_t id)
{
	struct vm *vm;

	pthread_mutex_lock(&list_lock);
	for (vm = list_head; vm != NULL; vm = vm->vm_next)
		if (vm->vm_id == id) {
			atomic_fetch_add(&vm->vm_refs, 1);
			break;
		}
	pthread_mutex_unlock(&list_lock);
	return (vm);
}

int
vm_get(uint32_t id, struct vm **vmp)
{
	int error;

	if ((*vmp = list_find(id)) != NULL)
		return (0);
	error = peer_exists(id);
	return (error == 0 ? ENOENT : error);
}

int
vcpu_get(uint32_t vm_id, uint32_t vcpu_id, struct vcpu **vcpup)
{
	struct vm *vm;
	int error;

	if ((error = vm_get(vm_id, &vm)) != 0)
		return (error);
	if (vcpu_id >= vm->vm_ncpus) {
		vm_put(vm);
		return (ENOENT);
	}
	*vcpup = &vm->vm_vcpu[vcpu_id];
	return (0);
}

/* --- CREATE -------------------------------------------------------------- */

static int
vm_new(struct call *ca, const struct vm_create_params *vcp, struct vm **vmp)
{
	const struct engine_row *row;
	struct engine_vm_config config;
	char why[sizeof(((struct vmm_engine_params *)0)->ve_why)];
	char spec[CALL_ENGINE_LEN];
	struct vm *vm;
	int error;

	if ((error = call_engine(ca, spec)) != 0)
		return (error);
	if (engine_pick(spec, &row, &config.ev_options, why,
	    sizeof(why)) != 0)
		return (ENODEV);
	if (vcp->vcp_ncpus < 1 || vcp->vcp_ncpus > VMM_MAX_VCPUS_PER_VM ||
	    vcp->vcp_ncpus > row->er_max_vcpus)
		return (EINVAL);
	vm = calloc(1, sizeof(*vm) + vcp->vcp_ncpus * sizeof(vm->vm_vcpu[0]));
	if (vm == NULL)
		return (ENOMEM);
	pthread_mutex_init(&vm->vm_lock, NULL);
	vm->vm_ops = row->er_ops;
	vm->vm_refs = 1;
	vm->vm_tsc_khz = pvclock_tsc_khz();
	pvclock_init(&vm->vm_pvclock, vm->vm_tsc_khz);
	memcpy(vm->vm_name, vcp->vcp_name, sizeof(vm->vm_name) - 1);
	if ((error = mem_adopt(vm, vcp)) != 0)
		goto fail;

	config.ev_ranges = vm->vm_ranges;
	config.ev_nranges = vm->vm_nranges;
	config.ev_tsc_khz = vm->vm_tsc_khz;
	config.ev_writes_reported = false;
	error = vm->vm_ops->eo_vm_new(&config, &vm->vm_engine);
	if (error != 0)
		goto fail;
	for (; vm->vm_ncpus < vcp->vcp_ncpus; vm->vm_ncpus++) {
		error = vcpu_init(&vm->vm_vcpu[vm->vm_ncpus], vm,
		    vm->vm_ncpus);
		if (error != 0)
			goto fail;
	}
	*vmp = vm;
	return (0);
fail:
	vm_free(vm);
	return (error);
}

int
cmd_create(struct call *ca, void *arg)
{
	struct vm_create_params *vcp = arg;
	struct vm *vm, **p;
	int error, fd;

	pthread_once(&list_once, list_init);
	if ((error = vm_new(ca, vcp, &vm)) != 0)
		return (error);
	if ((fd = hostid_claim(&vm->vm_id)) == -1) {
		error = errno;
		vm_free(vm);
		return (error);
	}
	vcp->vcp_id = vm->vm_id;
	pthread_mutex_lock(&list_lock);
	for (p = &list_head; *p != NULL && (*p)->vm_id < vm->vm_id;
	    p = &(*p)->vm_next)
		continue;
	vm->vm_next = *p;
	*p = vm;
	pthread_mutex_unlock(&list_lock);
	/* From here on TERM of another process may end it at any time. */
	if ((error = server_add(vcp->vcp_id, fd)) != 0)
		(void)vm_terminate(vcp->vcp_id);
	return (error);
}

/* --- TERM ---------------------------------------------------------------- */

int
vm_terminate(uint32_t id)
{
	struct vm *vm, **p;
	unsigned i;

	pthread_mutex_lock(&list_lock);
	for (p = &list_head; (vm = *p) != NULL; p = &vm->vm_next)
		if (vm->vm_id == id) {
			*p = vm->vm_next;
			break;
		}
	pthread_mutex_unlock(&list_lock);
	if (vm == NULL)
		return (ENOENT);
	if ((vm->vm_caps & VMM_CAP_PROMISE) != 0)
		call_distrust();
	for (i = 0; i < vm->vm_ncpus; i++)
		vcpu_terminate(&vm->vm_vcpu[i]);
	server_drop(id);
	vm_put(vm);
	return (0);
}

int
cmd_term(struct call *ca, void *arg)
{
	const struct vm_terminate_params *vtp = arg;
	int error;

	(void)ca;
	error = vm_terminate(vtp->vtp_vm_id);
	if (error == ENOENT)
		error = peer_terminate(vtp->vtp_vm_id);
	return (error);
}

int
cmd_wait(struct call *ca, void *arg)
{
	const struct vmm_wait_params *vw = arg;

	return (peer_wait(ca, vw->vw_vm_id));
}

/* --- INFO ---------------------------------------------------------------- */

int
vm_describe(uint32_t id, struct vm_info_result *vir)
{
	struct vm *vm;
	unsigned i;

	if ((vm = list_find(id)) == NULL)
		return (ENOENT);
	memset(vir, 0, sizeof(*vir));
	vir->vir_memory_size = vm->vm_size >> 20;
	vir->vir_used_size = mem_resident(vm);
	vir->vir_ncpus = vm->vm_ncpus;
	for (i = 0; i < VMM_MAX_VCPUS_PER_VM; i++)
		vir->vir_vcpu_state[i] = i < vm->vm_ncpus ?
		    atomic_load(&vm->vm_vcpu[i].v_state) : VCPU_STATE_UNKNOWN;
	vir->vir_creator_pid = getpid();
	vir->vir_id = vm->vm_id;
	memcpy(vir->vir_name, vm->vm_name, sizeof(vir->vir_name));
	vm_put(vm);
	return (0);
}

static int
info_compare(const void *a, const void *b)
{
	const struct vm_info_result *x = a, *y = b;

	return (x->vir_id < y->vir_id ? -1 : x->vir_id > y->vir_id);
}

int
cmd_info(struct call *ca, void *arg)
{
	struct vm_info_params *vip = arg;
	struct vm_info_result *result;
	uint32_t *ids;
	size_t n, i, found = 0, others = 0, need;
	int error = 0;

	(void)ca;
	n = hostid_list(&ids);
	if ((result = calloc(n + 1, sizeof(*result))) == NULL) {
		free(ids);
		return (ENOMEM);
	}
	/* Ours first; what remains in ids is other processes'. */
	for (i = 0; i < n; i++) {
		if (vm_describe(ids[i], &result[found]) == 0)
			found++;
		else
			ids[others++] = ids[i];
	}
	found += peer_describe(ids, others, &result[found]);
	free(ids);
	qsort(result, found, sizeof(*result), info_compare);

	need = found * sizeof(*result);
	if (vip->vip_size < need) {
		vip->vip_size = need;
		vip->vip_info_ct = 0;
	} else {
		vip->vip_info_ct = found;
		if (need != 0 && !hostfault_copy(vip->vip_info, result, need))
			error = EFAULT;
	}
	free(result);
	return (error);
}

/* --- ENGINE, ENABLE ------------------------------------------------------ */

int
cmd_engine(struct call *ca, void *arg)
{
	struct vmm_engine_params *ve = arg;
	const struct engine_row *row;
	const char *options;
	int error;

	ve->ve_name[sizeof(ve->ve_name) - 1] = '\0';
	memset(ve->ve_why, 0, sizeof(ve->ve_why));
	error = engine_pick(ve->ve_name, &row, &options, ve->ve_why,
	    sizeof(ve->ve_why));
	if (error == 0)
		error = call_set_engine(ca, ve->ve_name);
	if (error == 0) {
		memset(ve->ve_name, 0, sizeof(ve->ve_name));
		snprintf(ve->ve_name, sizeof(ve->ve_name), "%s",
		    row->er_ops->eo_name);
		ve->ve_why[0] = '\0';
	}
	return (error);
}

int
cmd_engineinfo(struct call *ca, void *arg)
{
	struct vmm_engineinfo_params *vng = arg;
	const struct engine_ops *ops;
	uint32_t n;

	(void)ca;
	/* an index of the client's: no further than the table goes */
	for (n = 0; n < vng->vng_index && engine_table[n].er_ops != NULL; n++)
		continue;
	if ((ops = engine_table[n].er_ops) == NULL)
		return (ENOENT);
	*vng = (struct vmm_engineinfo_params){ .vng_index = n };
	snprintf(vng->vng_name, sizeof(vng->vng_name), "%s", ops->eo_name);
	vng->vng_works = ops->eo_probe(vng->vng_why, sizeof(vng->vng_why)) == 0;
	if (vng->vng_works && ops->eo_describe != NULL)
		ops->eo_describe(vng->vng_text, sizeof(vng->vng_text));
	return (0);
}

static void
apic_kick(void *arg, unsigned id)
{
	struct vm *vm = arg;

	vcpu_wake(&vm->vm_vcpu[id]);
}

static uint64_t
apic_tsc(void *arg, unsigned id)
{
	struct vm *vm = arg;

	return (__builtin_ia32_rdtsc() + (uint64_t)vm->vm_ops->eo_tsc_offset(
	    vm->vm_vcpu[id].v_engine));
}

static uint64_t
apic_now(void *arg)
{
	(void)arg;
	return (loop_now());
}

/* Switches a capability on that has more to it than its bit. */
static int
enable_apic(struct vm *vm)
{
	const struct apic_callbacks callbacks = {
		.ac_kick = apic_kick,
		.ac_tsc = apic_tsc,
		.ac_tsc_khz = vm->vm_tsc_khz,
		.ac_now = apic_now,
		.ac_arg = vm,
	};
	unsigned i;

	vm->vm_apic = apic_vm_new(vm->vm_ncpus, &callbacks);
	if (vm->vm_apic == NULL)
		return (ENOMEM);
	for (i = 1; i < vm->vm_ncpus; i++)
		vm->vm_vcpu[i].v_sipi = true;
	return (0);
}

int
cmd_enable(struct call *ca, void *arg)
{
	const struct vmm_enable_params *ven = arg;
	const uint32_t all = VMM_CAP_ALL_PORTS | VMM_CAP_MMIO | VMM_CAP_APIC |
	    VMM_CAP_WRITTEN | VMM_CAP_NOREGS | VMM_CAP_IGNORE_MSRS |
	    VMM_CAP_PROMISE;
	struct vm *vm;
	uint32_t more;
	int error;

	if ((error = vm_get(ven->ven_vm_id, &vm)) != 0)
		return (error);
	pthread_mutex_lock(&vm->vm_lock);
	more = ven->ven_caps & ~vm->vm_caps;
	if (atomic_load(&vm->vm_ran))
		error = EBUSY;
	else if ((ven->ven_caps & ~all) != 0)
		error = EINVAL;
	else if ((more & VMM_CAP_APIC) != 0)
		error = enable_apic(vm);
	if (error == 0 && (more & VMM_CAP_WRITTEN) != 0 &&
	    vm->vm_ops->eo_writes_reported != NULL)
		vm->vm_ops->eo_writes_reported(vm->vm_engine, true);
	if (error == 0) {
		vm->vm_caps |= more;
		if ((more & VMM_CAP_PROMISE) != 0)
			call_trust(ca);
	}
	pthread_mutex_unlock(&vm->vm_lock);
	vm_put(vm);
	return (error);
}

/* --- the clock's tick ---------------------------------------------------- */

bool
vm_tick(uint64_t now, bool check, uint64_t *next)
{
	struct vm *vm;
	struct vcpu *v;
	uint64_t deadline;
	bool looks = false, kick;
	unsigned i;

	*next = LOOP_NEVER;
	pthread_mutex_lock(&list_lock);
	for (vm = list_head; vm != NULL; vm = vm->vm_next)
		for (i = 0; i < vm->vm_ncpus; i++) {
			v = &vm->vm_vcpu[i];
			if (!atomic_load(&v->v_entered))
				continue;
			deadline = atomic_load(&v->v_deadline);
			kick = deadline <= now;
			if (atomic_load(&v->v_looks)) {
				looks = true;
				if (check)
					atomic_store(&v->v_check, true);
				kick |= check;
			}
			if (kick)
				vm->vm_ops->eo_kick(v->v_engine);
			if (deadline > now && deadline < *next)
				*next = deadline;
		}
	pthread_mutex_unlock(&list_lock);
	return (looks);
}
