/* What a process gives up for good, before it touches the network, and its tie to its parent; where the kernel knows how. */
#include "core/context.h"
#include "api/confinement_api.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h is newer than the oldest headers that we build with; the numbers are the kernel's ABI. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif
#define LANDLOCK_VERSION_FLAG 1u
#define LANDLOCK_FS_WRITE_FILE (1u << 1)
#define LANDLOCK_FS_CHANGES 0x1ff0u  /* remove and make, of every kind */
#define LANDLOCK_FS_REFER (1u << 13) /* version 2 */
#define LANDLOCK_FS_TRUNCATE (1u << 14) /* version 3 */

int ps_no_new_privs(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) ? errno : 0;
}

int ps_landlock_read_only(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION_FLAG);
    if (version < 0) return errno;
    u64 handled = LANDLOCK_FS_WRITE_FILE | LANDLOCK_FS_CHANGES;
    if (version >= 2) handled |= LANDLOCK_FS_REFER;
    if (version >= 3) handled |= LANDLOCK_FS_TRUNCATE;
    /* A ruleset without rules: all that it handles is forbidden everywhere. */
    long ruleset = syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0u);
    if (ruleset < 0) return errno;
    int failed = ps_no_new_privs();
    if (!failed && syscall(SYS_landlock_restrict_self, (int)ruleset, 0u) < 0) failed = errno;
    close((int)ruleset);
    return failed;
}

int ps_set_parent_end_signal(int number) {
    return prctl(PR_SET_PDEATHSIG, (unsigned long)number, 0UL, 0UL, 0UL) ? errno : 0;
}

int ps_parent_end_signal(int *number) {
    *number = 0;
    return prctl(PR_GET_PDEATHSIG, number, 0UL, 0UL, 0UL) ? errno : 0;
}
#else
int ps_no_new_privs(void) { return ENOSYS; }
int ps_landlock_read_only(void) { return ENOSYS; }
int ps_set_parent_end_signal(int number) {
    (void)number;
    return ENOSYS;
}
int ps_parent_end_signal(int *number) {
    *number = 0;
    return ENOSYS;
}
#endif
