/* A receiver's requests to a sender over a small tree: replies, or a refusal, never more output than the requests can ask for.
 * First byte: protocol (with 16 to 48 an old one), recursion, and (8) whether the sender is the client; second: options; third:
 * compression kind; fourth: bytes fed at a time (0: all). */
#include "filelist/lister.h"
#include "api/flist_api.h"
#include "api/sending_api.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_file(const char *path, size_t size) {
    FILE *f = fopen(path, "w");
    if (!f) abort();
    for (size_t i = 0; i < size; i++) fputc((int)(i * 7 % 251), f);
    fclose(f);
}

/* a tree of its own for this process, removed by the system's cleaning of /tmp */
static int tree(void) {
    static int fd = -1;
    static char top[] = "/tmp/fuzz_send.XXXXXX";
    if (fd >= 0) return fd;
    char name[64];
    if (!mkdtemp(top)) abort();
    const char *dirs[] = {"d", "d/e", "d/f"};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/%s", top, dirs[i]);
        if (mkdir(name, 0700) < 0) abort();
    }
    const char *files[] = {"a", "b", "d/c", "d/e/g", "d/f/h"};
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s/%s", top, files[i]);
        put_file(name, (size_t)i * 9000);
    }
    return fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void drain(ps_ctx *c, ps_send *s) {
    size_t n;
    ps_send_out(s, &n);
    ps_send_sent(s, n);
    ps_send_frames_clear(s);
    ps_ctx_log_clear(c);
    ps_ctx_events_clear(c);
}

/* Steps until it wants input; false: the session is over. */
static bool run(ps_ctx *c, ps_send *s) {
    for (int steps = 0; steps < 4000; steps++) {
        int status = ps_send_step(s);
        drain(c, s);
        if (status == PS_AGAIN) return true;
        if (status == PS_DONE || status == PS_FAIL) return false;
    }
    return false;
}

static void set_options(ps_opts *o, const uint8_t *data) {
    o->role = PS_ROLE_SENDER;
    o->am_server = !(data[0] & 8);
    o->info_progress = o->info_del = !o->am_server;
    o->implied_dirs = o->recurse = o->times = o->proper_seed_order = 1;
    bool old = data[0] & 0x30;
    o->xfer_sum = o->file_sum = old ? PS_SUM_MD4_SEEDED : PS_SUM_XXH3;
    o->max_size = o->min_size = -1;
    o->protocol = old ? 26 + (data[0] >> 4 & 3) : 30 + (data[0] & 3) % 3;
    o->inc_recurse = !old && data[0] >> 2 & 1;
    o->safe_flist = !old;
    o->dry_run = (data[1] & 7) == 7;
    o->inplace = data[1] >> 3 & 1;
    o->append = (data[1] >> 4 & 3) % 3;
    o->swarm = data[1] >> 6 & 1;
    o->compress = data[2] % 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    ps_ctx *c = ps_ctx_new();
    set_options(&c->o, data);
    size_t step = data[3] ? data[3] : size;
    data += 4;
    size -= 4;
    ps_flists *all = ps_flists_new(c);
    ps_root *root = ps_root_from_fd(c, dup(tree()));
    ps_lister *l = lister_new(c, all, NULL, root);
    if (!c->o.am_server && lister_from_anywhere(l, "", 0) != PS_OK) abort();
    if (lister_arg(l, ".", 1) != PS_OK) abort();
    ps_send *s = ps_send_new(c, all, l, NULL, root);
    if (!s) abort();
    if (run(c, s)) {
        for (size_t at = 0; at < size; at += step) {
            if (ps_send_feed(s, data + at, size - at < step ? size - at : step) != PS_OK) abort();
            if (!run(c, s)) break;
        }
    }
    ps_send_free(s);
    lister_free(l);
    ps_root_free(root);
    ps_flists_free(all);
    ps_ctx_free(c);
    return 0;
}
