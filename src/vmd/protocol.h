/*
 * The messages of vmd(8); how they travel is in control/control.h.
 *
 * From vmctl to vmd. "vm" is a number or a name as the user wrote it. Others
 * than root and vmd's own user may status, start, stop, wait, pause, unpause
 * and console, the latter five on VMs that they own; else EPERM.
 *
 * command    members                            answer
 * status     vm?                                vms: a list of VMs (below)
 * start      vm | config, template?             id, name, tty
 *            "vm" starts one that is configured; "config" (config_vm_json())
 *            defines and starts one, as an instance of "template" if named
 * stop       vm | all, force?, wait?            how: powerdown, killed (the
 *            guest did not listen), terminated (force); with wait when it has
 *            ended, else at once with how: asked
 * wait       vm                                 end: how it ended (below)
 * pause      vm                                 -
 * unpause    vm                                 -
 * console    vm                                 a descriptor (below)
 * load       file (absolute path)               -
 * reload     -                                  -
 * reset      what: all, vms, switches           -
 * log        verbose: true or false             -
 * shutdown   -                                  stops the VMs in order, ends
 *
 * A VM in "vms":
 *   id, name, pid (0: does not run), cpus, memory (bytes), resident (bytes),
 *   tty ("" if none), owner (text), uid, state: running, paused, stopping,
 *   stopped; engine, uptime (seconds), disks and interfaces as configured
 *   (interfaces with mac and, where vmd knows it, address).
 *
 * From vmd to a VM's process, on the socket that is the process's own and that
 * a vmd started later finds again:
 *
 * hello      -               id, name, pid, uid, tty, config, state, engine
 * status     -               as hello, without config
 * stop       force?          asks the guest (power button and vmmci)
 * pause, unpause             -
 * console    -               a descriptor
 * log        verbose         -
 *
 * Its events: {"event": "state", "state": ...}, {"event": "log", "line": ...},
 * {"event": "end", "end": ..., "error"?: text}. Ends: poweroff, crash,
 * terminated, error, killed, restarts (rebooted too often).
 *
 * A console is a stream socket: what comes from it is what the guest wrote,
 * the last 64 KiB of it at first, what is sent goes to the guest. Any number
 * of readers see the same; a reader that does not read loses output, the VM
 * does not wait.
 */
#ifndef VMD_PROTOCOL_H
#define VMD_PROTOCOL_H

#define PROTOCOL_CONSOLE_KEPT	65536u

#endif
