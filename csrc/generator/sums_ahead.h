/* -c: sums of the local files of a list that is still arriving. */
#ifndef PS_SUMS_AHEAD_H
#define PS_SUMS_AHEAD_H
#include "filelist/flist.h"

/* rsync's receiver begins to read its files once a list is complete, which is when the sender has read all of its own: the one
 * waits while the other works. What is learned here is only ever that a file in a certain state (device, inode, size, times) has
 * a certain sum, so a wrong guess about what the generator will ask for costs time and nothing else. */
typedef struct ps_sums_ahead ps_sums_ahead;
ps_sums_ahead *sums_ahead_new(ps_ctx *c, ps_flists *all, const char *dest); /* dest: as on the command line. NULL: memory */
void sums_ahead_free(ps_sums_ahead *e);
/* Reads some of the files that the list names so far. PS_OK: call again; PS_AGAIN: there is nothing to be done for it now. */
int sums_ahead_step(ps_sums_ahead *e, const ps_flist *list);
/* What is known of a file in this state: whether its sum is `want`. false: nothing. */
bool sums_ahead_compare(const ps_sums_ahead *e, const struct stat *st, const u8 *want, size_t len, bool *same);
#endif
