/* The inside of output files: output.c (names, directories, opening), write.c (data), pieces.c (digests), finish.c (the end). */
#ifndef PS_OUTPUT_INNER_H
#define PS_OUTPUT_INNER_H
#include "core/names.h"
#include "fs/attrs.h"
#include "fs/option_paths.h"
#include "output/output.h"
#include <limits.h>

#define OUT_SUFFIX_LEN 7              /* ".XXXXXX" */
#define OUT_CHUNK (256u * 1024u)      /* of the scratch buffer */
#define OUT_TEMP_PATH (2 * PS_LIMIT_NAME)

enum place { IN_FINAL_DIR, IN_TEMP_DIR, IN_PARTIAL_DIR, IN_PLACE };

static inline bool place_is_temporary(enum place p) { return p == IN_FINAL_DIR || p == IN_TEMP_DIR; }


struct ps_out {
    ps_outs *outs;
    ps_out *next, *prev;
    ps_file *file;
    i32 ndx;
    int fd;
    enum place place;
    bool got_data;
    bool cloned;               /* it shares the blocks of the file that was handed over */
    mode_t made_mode;          /* what the temporary file was made with */
    i64 old_size;              /* in place: bytes before */
    ps_pieces *pieces;
    char temp[NAME_MAX + 1];   /* name within its directory; unused where the place is not temporary */
    char path[PS_LIMIT_NAME + 1];
};

typedef struct delayed {
    i32 ndx;
    u32 path;
} delayed;

struct ps_outs {
    ps_ctx *c;
    ps_root *root;
    outs_backup_fn backup;     /* NULL: none are made */
    void *backup_owner;
    ps_out *first, *spare;
    u32 open_count;
    int temp_fd;               /* --temp-dir, -1 until it is needed */
    u64 random;
    uid_t euid;
    gid_t egid;
    delayed *later;
    u32 later_count, later_cap;
    ps_arena later_paths;
    u8 *scratch;
};

const char *out_last_part(const char *path);
/* A descriptor of its own for the directory of the partial file. */
int out_partial_dir_fd(ps_outs *o, const char *partial, const char **name);
bool out_partial_dir_make(ps_outs *o, const char *partial);   /* util1.c:handle_partial_dir(PDIR_CREATE) */
void out_partial_dir_remove(ps_outs *o, const char *partial); /* PDIR_DELETE: goes only when it is empty */
void out_partial_unlink(ps_outs *o, const char *partial);
int out_temp_dir_fd(ps_out *out); /* the directory that holds the temporary file; not the caller's to close */
const char *out_temp_path(const ps_out *out, char path[OUT_TEMP_PATH]);   /* counted from the root */
const char *out_temp_shown(const ps_out *out, char shown[PS_FULL_FNAME]); /* for messages */
/* name ends in six letters to be made; letters: where they begin. -1: errno */
int out_create_temp(ps_outs *o, int dir, char *name, size_t letters, mode_t mode);
u8 *out_scratch(ps_outs *o);      /* OUT_CHUNK bytes; NULL: memory */

/* pieces.c */
ps_pieces *pieces_new(u64 size, const u8 *digests);
void pieces_free(ps_pieces *p);
int pieces_wrote(ps_pieces *p, int fd, u64 offset, const u8 *data, size_t n); /* PS_FAIL: errno */
/* Of n bytes at offset, those that lie in the first piece; 0: offset + n is beyond the file. */
u64 pieces_part(const ps_pieces *p, u64 offset, size_t n, bool *verified);
ps_piece_state pieces_state(const ps_pieces *p, u64 index);
void pieces_again(ps_pieces *p, u64 index);
int pieces_keep(ps_pieces *p, u64 index, u64 offset, u64 len);
bool pieces_missing(const ps_pieces *p, u64 end, u64 *at, u64 *len);
u64 pieces_prefix(const ps_pieces *p); /* bytes from the start that are verified */
bool pieces_all_ok(const ps_pieces *p);

#endif
