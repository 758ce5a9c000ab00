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
 * stop       vm | all, force?, wait?            how: asked, terminated; with
 *            wait when it has ended: id, name, end, how, why?; of "all" a list
 *            of these in "vms"
 * wait       vm                                 id, name, end, how, why?
 * pause      vm                                 -
 * unpause    vm                                 -
 * console    vm                                 a descriptor (below)
 * load       file (absolute path)               -
 * reload     -                                  -
 * reset      what: all, vms, switches           -
 * log        verbose: true or false             -
 * shutdown   -                                  stops the VMs in order, ends
 *
 * end: poweroff, crash, terminated (forced), error, killed, restarts (too
 * often). how: powerdown if the guest did what stop asked it to, else the same
 * as end. why: a line for people, as what the guest did not do.
 *
 * A VM in "vms" of status:
 *   id, name, pid (0: does not run), cpus, memory (bytes), resident (bytes),
 *   tty ("" if none), owner (text), uid, state: running, paused, stopping,
 *   stopped, waiting (for its turn to start), starting; engine, uptime
 *   (seconds), disks and interfaces as configured (interfaces: kind, mac,
 *   switch?, of taps tap?, bridge?, of local ones address, host). Long lists
 *   come in several answers ("more").
 *
 * From vmd to a VM's process: first, on a socket that the process inherits,
 *
 * run        id, name, uid (of its owner), order (of starts), dir (the runtime
 *            folder), prefix, prefix_bits (of local interfaces), config,
 *            verbose, foreign (defined by that user, whose rights it has),
 *            copy (but boots from what vmd's user said); answered as status
 *            is when the machine is there
 *
 * then on this one or one that is connected to its own socket later:
 *
 * hello      -               as status, and config
 * status     -               id, name, pid, uid, tty, state, engine, since
 *                            (CLOCK_BOOTTIME), order, foreign, taps (the name
 *                            of each interface's, "" for others)
 * stop       force?          how; asks the guest (power button)
 * pause, unpause             -
 * console    -               a descriptor
 * log        verbose         -
 *
 * Its events: {"event": "state", "state": ...}, {"event": "log", "line": ...,
 * "warning": ...}, {"event": "end", "end": ..., "how": ..., "error"?: text}.
 *
 * Switches are spoken to by vmd/switch.h.
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
