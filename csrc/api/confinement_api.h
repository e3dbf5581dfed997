/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_PRIVILEGES_API_H
#define PS_PRIVILEGES_API_H

/* Each returns 0, or an errno: ENOSYS where the kernel knows no such thing. */
int ps_no_new_privs(void);            /* prctl(2): exec gives no privileges from now on */
int ps_landlock_read_only(void);      /* Landlock: from now on nothing in the file system can be written, made or removed */
int ps_set_parent_end_signal(int number); /* prctl(2): the signal comes when the thread that forked this process ends; 0: none */
int ps_parent_end_signal(int *number); /* which one that is now; 0: none */

#endif
