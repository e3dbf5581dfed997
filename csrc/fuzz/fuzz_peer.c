/* A client's frames at the daemon: fetches of a peer connection (first byte even), or digests? within a session (odd). Over a
 * small tree whose digests are known. */
#include "fuzz_tools.h"
#include "api/sending_api.h"
#include "nominate/serve.h"

static int tree;
static ps_index *ready(void) {
    static ps_index *index;
    static char top[64], path[80];
    if (index) return index;
    tree = fuzz_folder(top, "fuzz_peer");
    fuzz_put_file(tree, "a", 3000, 0);
    fuzz_put_file(tree, "b", 300000, 0);
    fuzz_put_file(tree, "empty", 0, 0);
    snprintf(path, sizeof path, "%s.index", top);
    char why[PS_INDEX_TEXT];
    int error;
    index = ps_index_open(path, 1, why, &error);
    ps_index_answer answers[3];
    u32 done;
    if (!index || ps_index_hash(index, tree, (const u8 *)"a\0b\0empty\0", 10, PS_INDEX_SUMS, 1 << 20, answers, 3, &done) != PS_OK) abort();
    if (ps_index_commit(index) != PS_OK) abort();
    return index;
}

static void serve(const u8 *data, size_t size, size_t step, bool busy) {
    ps_index *index = ready();
    ps_ctx *c = ps_ctx_new();
    c->o.role = PS_ROLE_SENDER;
    c->o.protocol = 32;
    ps_root *root = ps_root_from_fd(c, dup(tree));
    ps_peer *p = ps_peer_new(c, NULL, root, index);
    size_t total = 0;
    if (busy) ps_peer_set_busy(p, PS_PEER_ASK);
    for (size_t at = 0; at < size; at += step) {
        if (ps_peer_feed(p, data + at, size - at < step ? size - at : step) != PS_OK) break;
        int status = PS_FULL;
        for (int i = 0; i < 2000 && (status == PS_OK || status == PS_FULL); i++) {
            status = ps_peer_step(p);
            size_t n;
            ps_peer_out(p, &n);
            ps_peer_sent(p, n);
            total += n;
            ps_peer_frames_clear(p);
            ps_peer_wanted_clear(p);
            fuzz_drain(c);
            if (busy && status == PS_FULL) ps_peer_set_busy(p, i & 1 ? 5 : 0);
        }
        if (status != PS_AGAIN) break;
    }
    ps_peer_free(p);
    ps_root_free(root);
    ps_ctx_free(c);
}

static void digests(const u8 *data, size_t size) {
    ps_index *index = ready();
    ps_ctx *c = ps_ctx_new();
    ps_opts *o = ps_ctx_opts(c);
    o->role = PS_ROLE_SENDER;
    o->am_server = o->implied_dirs = o->recurse = o->times = o->proper_seed_order = o->swarm = o->safe_flist = 1;
    o->xfer_sum = o->file_sum = PS_SUM_XXH3;
    o->max_size = o->min_size = -1;
    o->protocol = 32;
    ps_flists *all = ps_flists_new(c);
    ps_root *root = ps_root_from_fd(c, dup(tree));
    ps_lister *l = ps_lister_new(c, all, NULL, root);
    if (ps_lister_arg(l, ".", 1) != PS_OK) abort();
    ps_send *s = ps_send_new(c, all, l, NULL, root);
    ps_digester *d = ps_digester_new(c, s, root, index);
    for (int i = 0; i < 100 && ps_send_step(s) == PS_OK; i++) {}
    int status = PS_OK;
    while (size && status != PS_FAIL) { /* frames: a byte for the length, the body */
        size_t n = *data++;
        size--;
        if (n > size) n = size;
        status = ps_digester_ask(d, data, n);
        data += n;
        size -= n;
        for (int i = 0; i < 100 && status != PS_FAIL; i++) {
            status = ps_digester_step(d);
            size_t out;
            ps_send_out(s, &out);
            ps_send_sent(s, out);
            if (status == PS_AGAIN) break;
        }
        ps_digester_wanted_clear(d);
        fuzz_drain(c);
    }
    if (status != PS_FAIL && ps_digester_retry(d, true) == PS_OK) ps_digester_step(d);
    ps_digester_free(d);
    ps_send_free(s);
    ps_lister_free(l);
    ps_root_free(root);
    ps_flists_free(all);
    ps_ctx_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    u8 head[2];
    fuzz_take(&data, &size, head, sizeof head);
    if (head[0] & 1) digests(data, size);
    else serve(data, size, head[1] ? head[1] : size + 1, head[0] & 2);
    return 0;
}
