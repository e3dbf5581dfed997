/* What Python calls: csrc/api/flist_api.h. */
#include "transfer.h"

ps_flists *ps_flists_new(ps_ctx *c) { return flists_new(c); }
void ps_flists_free(ps_flists *all) { flists_free(all); }

ps_root *ps_root_open(ps_ctx *c, const char *path, bool create) { return root_open(c, path, create); }
ps_root *ps_root_from_fd(ps_ctx *c, int fd) { return root_from_fd(c, fd); }
void ps_root_free(ps_root *r) { root_free(r); }
int ps_root_fd(const ps_root *r) { return root_fd(r); }

ps_flist_decoder *ps_flist_decoder_new(ps_ctx *c, ps_flists *all, ps_rules *rules) { return flist_decoder_new(c, all, rules); }
void ps_flist_decoder_free(ps_flist_decoder *d) { flist_decoder_free(d); }
int ps_flist_decoder_imply(ps_flist_decoder *d, const char *arg, size_t len, bool skip_module) {
    return flist_decoder_imply(d, arg, len, skip_module);
}
