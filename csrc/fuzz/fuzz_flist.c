/* File lists of a sender. Head: protocol (128: an old one), options (three bytes), bytes fed at a time (0: all). The first list, then sub-lists
 * of whatever directories there are. */
#include "fuzz_tools.h"
#include "filelist/flist.h"

static void set_options(ps_opts *o, const u8 *head) {
    o->role = PS_ROLE_RECEIVER;
    o->protocol = (head[0] & 128 ? 27 : 30) + head[0] % 128 % 3;
    o->am_root = 1;
    o->implied_dirs = 1;
    o->recurse = !(head[1] & 1);
    o->links = !(head[1] & 2);
    o->perms = o->times = !(head[1] & 4);
    o->owner = o->group = !(head[1] & 8);
    o->devices = o->specials = !(head[1] & 16);
    o->inc_recurse = o->protocol >= 30 && head[1] >> 5 & 1;
    o->safe_flist = !(head[1] & 64);
    o->varint_flist_flags = o->protocol > 30 && !(head[1] & 128);
    o->hard_links = head[2] & 1;
    o->checksum = head[2] >> 1 & 1;
    o->relative = head[2] >> 2 & 1;
    o->numeric_ids = head[2] >> 3 & 1;
    o->id0_names = o->protocol >= 30 && head[2] >> 4 & 1;
    o->munge_links = head[2] >> 5 & 1;
    o->prune_empty_dirs = head[2] >> 6 & 1;
    o->dirs = head[2] >> 7 & 1;
    o->file_sum = o->xfer_sum = o->protocol < 30 ? PS_SUM_MD4_SEEDED : head[3] & 1 ? PS_SUM_MD5 : PS_SUM_XXH128;
    o->atimes = head[3] >> 1 & 1;
    o->verbose = 2;
    o->max_size = o->min_size = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    u8 head[5];
    fuzz_take(&data, &size, head, sizeof head);
    ps_ctx *c = ps_ctx_new();
    set_options(ps_ctx_opts(c), head);
    ps_flists *all = ps_flists_new(c);
    ps_flist_decoder *d = ps_flist_decoder_new(c, all, NULL);
    ps_flist_feeder *f = ps_flist_feeder_new(c, d, true);
    static ps_flist_row row;
    if (head[3] & 4) ps_flist_decoder_imply(d, "m/", 2, true);
    int status = ps_flist_decoder_begin(d, -1);
    i32 parent = -1;
    size_t step = head[4] ? head[4] : size + 1;
    while (size && status != PS_FAIL) {
        size_t n = size < step ? size : step, used = 0;
        status = ps_flist_feed(f, data, n, &used);
        if (status == PS_FAIL || (status == PS_AGAIN && used < n)) break;
        data += used;
        size -= used;
        if (status == PS_DONE) {
            for (i32 i = 0; i < 20; i++) ps_flists_row(all, i, &row);
            status = ps_flist_decoder_begin(d, ++parent);
        }
        fuzz_drain(c);
    }
    if (all->first) ps_flists_render_listing(c, all, all->first->ndx_start);
    while (ps_flists_count(all)) ps_flists_drop_first(all);
    ps_flist_feeder_free(f);
    ps_flist_decoder_free(d);
    ps_flists_free(all);
    ps_ctx_free(c);
    return 0;
}
