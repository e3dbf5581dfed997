/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_PRIVILEGES_API_H
#define PS_PRIVILEGES_API_H

/* Each returns 0, or an errno. */
int ps_no_new_privs(void);       /* prctl(2): exec gives no privileges from now on; ENOSYS where there is none */
int ps_landlock_read_only(void); /* Landlock: from now on nothing in the file system can be written, made or removed */

#endif
