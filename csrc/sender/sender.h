/* The sender, as the part that serves digests beside it sees it. */
#ifndef PS_SENDER_H
#define PS_SENDER_H
#include "filelist/flist.h"
#include "wire/mux.h"

struct ps_send;
ps_flists *send_lists(const struct ps_send *s);
ps_mux_out *send_output(struct ps_send *s);

#endif
