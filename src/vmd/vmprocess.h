/*
 * The process of a VM: what vmd executes for each (vmprocess.c), what it makes
 * of a configuration (vmconfig.c) and which rights it keeps (privilege.c).
 */
#ifndef VMD_VMPROCESS_H
#define VMD_VMPROCESS_H

#include <net/if.h>

#include "base/err.h"
#include "config/config.h"
#include "machine/machine.h"

#define VMPROCESS_FD	3		/* a socket to vmd */

/* An exit status. */
int	vmprocess_main(void);

/* A machine's configuration with what it borrows from. */
struct vmconfig {
	struct machine_config vc_machine;
	char		*vc_text[16];	/* made for it */
	size_t		 vc_ntexts;
	int		 vc_fd[8];
	size_t		 vc_nfds;
	char		 vc_tap[CONFIG_NICS_MAX][IFNAMSIZ]; /* "": no tap */
};

/* What a VM is on this host. */
struct vmplace {
	const char	*vl_dir;	/* the runtime folder */
	unsigned	 vl_id;		/* its number */
	uid_t		 vl_uid;	/* its owner */
	uint32_t	 vl_prefix;	/* of local interfaces, host's order */
	unsigned	 vl_prefix_bits;
	bool		 vl_copy;	/* what its owner cannot read is copied:
					   root says that it boots from this */
};

/* The addresses of the VM's local interface n; -1: outside the prefix. */
int	vmconfig_local(const struct vmplace *, size_t n, uint32_t *host,
	    uint32_t *guest);
/*
 * In two steps, the first with vmd's rights: networks, then files. -1 with a
 * line in err. The VM's configuration is borrowed. vmconfig_free() ends what
 * either has made.
 */
int	vmconfig_networks(struct vmconfig *, const struct config_vm *,
	    const struct vmplace *, struct err *);
int	vmconfig_make(struct vmconfig *, const struct config_vm *,
	    const struct vmplace *, struct err *);
void	vmconfig_free(struct vmconfig *);

#endif
