/*
 * A CD-ROM drive as SCSI sees it (SPC-3, MMC-5), without a transport: a command
 * is answered with data, with a part of the disc to be read, or with sense.
 */
#ifndef MACHINE_SCSI_CD_H
#define MACHINE_SCSI_CD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"

#define SCSI_CDB_MAX	32
#define SCSI_SENSE_SIZE	18
#define SCSI_DATA_MAX	128

enum scsi_status { SCSI_GOOD = 0x00, SCSI_CHECK_CONDITION = 0x02 };

struct scsi_cd {
	uint64_t	 cd_blocks;	/* [I] of 2048 bytes */
	char		 cd_serial[20];	/* [I] */
	bool		 cd_locked;	/* PREVENT ALLOW MEDIUM REMOVAL */
	bool		 cd_open;	/* the tray: no disc is in */
};

struct scsi_answer {
	enum scsi_status sa_status;
	uint8_t		 sa_sense[SCSI_SENSE_SIZE];	/* of CHECK CONDITION */
	/* GOOD: either data, or bytes of the disc, multiples of 2048 */
	uint8_t		 sa_data[SCSI_DATA_MAX];
	size_t		 sa_len;
	uint64_t	 sa_offset, sa_length;
};

void	scsi_cd_init(struct scsi_cd *, uint64_t size, const char serial[20]);
/* Carries out a command for a logical unit: 0 is the drive, others are not
 * there. The caller holds the device's lock. */
void	scsi_cd_command(struct scsi_cd *, unsigned lun,
	    const uint8_t cdb[SCSI_CDB_MAX], struct scsi_answer *);
void	scsi_cd_state(struct scsi_cd *, struct state *);
/* The disc could not be read. */
void	scsi_cd_medium_error(struct scsi_answer *);

#endif
