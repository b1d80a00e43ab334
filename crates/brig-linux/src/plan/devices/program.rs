//! Rules as a program that the kernel runs for each use of a device (`BPF_PROG_TYPE_CGROUP_DEVICE`): v2 has no files for
//! them.
//!
//! It is given a pointer to three words: kind and access, major number, minor number (`struct bpf_cgroup_dev_ctx`), and
//! answers 1 for yes. Each exception is a handful of comparisons and an answer; what passes by all of them gets the
//! default.

use super::rules::{Access, Rules, Which};

/// Instructions (`linux/bpf.h`, `linux/bpf_common.h`): class, operation and source of the operand in one byte.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
/// Jumps that compare 32 bits (Linux 5.1).
const JUMP_EQUAL: u8 = 0x16;
const JUMP_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// What is where.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    value: u32,
}

const fn one(code: u8, to: u8, value: u32) -> Instruction {
    Instruction { code, to, from: 0, offset: 0, value }
}

const fn load(to: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, to, from: CONTEXT, offset, value: 0 }
}

const fn copy(to: u8, from: u8) -> Instruction {
    Instruction { code: MOVE_REGISTER, to, from, offset: 0, value: 0 }
}

/// The program, as the kernel takes it: eight bytes an instruction, in this machine's byte order.
pub(in crate::plan) fn program(rules: &Rules) -> Vec<u8> {
    let mut program = vec![
        load(KIND, 0),
        copy(ACCESS, KIND),
        one(AND, KIND, 0xffff),
        one(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for (which, access) in &rules.exceptions {
        program.extend(exception(*which, *access, rules.allow));
    }
    program.extend(answer(rules.allow));
    program.iter().flat_map(encode).collect()
}

fn answer(allow: bool) -> [Instruction; 2] {
    [one(MOVE, ANSWER, allow.into()), one(EXIT, 0, 0)]
}

fn exception(which: Which, access: Access, allowed: bool) -> Vec<Instruction> {
    let mut block = vec![one(JUMP_NOT_EQUAL, KIND, which.kind as u32)];
    if access != Access::ALL {
        // What opens a device to read and to write needs both, and is denied by the lack of either.
        let (bits, jump) =
            if allowed { (access.0, JUMP_EQUAL) } else { (!access.0 & Access::ALL.0, JUMP_NOT_EQUAL) };
        block.extend([copy(ANSWER, ACCESS), one(AND, ANSWER, bits.into()), one(jump, ANSWER, 0)]);
    }
    let numbers = [(MAJOR, which.major), (MINOR, which.minor)];
    block.extend(
        numbers.into_iter().filter_map(|(register, number)| Some(one(JUMP_NOT_EQUAL, register, number?))),
    );
    block.extend(answer(!allowed));
    let end = block.len();
    for (place, instruction) in block.iter_mut().enumerate() {
        if [JUMP_EQUAL, JUMP_NOT_EQUAL].contains(&instruction.code) {
            // To the first instruction after the block, which has fewer than ten.
            instruction.offset = i16::try_from(end - place - 1).unwrap_or(0);
        }
    }
    block
}

fn encode(instruction: &Instruction) -> [u8; 8] {
    let Instruction { code, to, from, offset, value } = *instruction;
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    let ([o0, o1], [v0, v1, v2, v3]) = (offset.to_ne_bytes(), value.to_ne_bytes());
    [code, registers, o0, o1, v0, v1, v2, v3]
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroup;
    use serde_json::json;

    use super::*;

    /// Runs a program of the instructions above.
    fn run(program: &[u8], context: [u32; 3]) -> bool {
        let mut registers = [0_u32; 6];
        let mut place = 0;
        for _ in 0..100_000 {
            let bytes: [u8; 8] = program[place * 8..place * 8 + 8].try_into().unwrap();
            place += 1;
            let [code, pair, o0, o1, v0, v1, v2, v3] = bytes;
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = usize::try_from(i16::from_le_bytes([o0, o1])).unwrap();
            let value = u32::from_le_bytes([v0, v1, v2, v3]);
            match code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = context[offset / 4];
                }
                MOVE => registers[to] = value,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                JUMP_EQUAL if registers[to] == value => place += offset,
                JUMP_NOT_EQUAL if registers[to] != value => place += offset,
                JUMP_EQUAL | JUMP_NOT_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
        panic!("it doesn't end");
    }

    const R: u32 = 2;
    const W: u32 = 4;
    const M: u32 = 1;

    fn may(rules: serde_json::Value) -> impl Fn(char, u32, u32, u32) -> bool {
        let asked: Vec<LinuxDeviceCgroup> = serde_json::from_value(rules).unwrap();
        let program = program(&Rules::new(&asked, &[]).unwrap());
        move |kind, major, minor, access| {
            let kind = if kind == 'b' { 1 } else { 2 };
            run(&program, [access << 16 | kind, major, minor])
        }
    }

    #[test]
    fn default_devices_work_and_others_can_be_made_only() {
        let may = may(json!([]));
        for (major, minor) in
            [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 0), (136, 77)]
        {
            assert!(may('c', major, minor, R | W) && may('c', major, minor, M), "{major}:{minor}");
            assert!(!may('b', major, minor, R), "{major}:{minor}");
        }
        for (kind, major, minor) in [('c', 1, 1), ('c', 10, 229), ('b', 8, 0), ('c', 1, u32::MAX)] {
            assert!(may(kind, major, minor, M));
            assert!(!may(kind, major, minor, R) && !may(kind, major, minor, W));
        }
    }

    #[test]
    fn reading_isn_t_writing() {
        let may = may(json!([{"allow": true, "type": "b", "major": 8, "access": "r"}]));
        assert!(may('b', 8, 5, R));
        assert!(!may('b', 8, 5, W) && !may('b', 8, 5, R | W) && !may('b', 9, 5, R) && !may('c', 8, 5, R));
    }

    #[test]
    fn what_is_denied_for_writing_isn_t_opened_for_both() {
        let may = may(
            json!([{"allow": true}, {"allow": false, "type": "b", "major": 8, "minor": 0, "access": "w"}]),
        );
        assert!(may('b', 8, 0, R) && may('b', 8, 1, R | W) && may('c', 1, 1, R | W));
        assert!(!may('b', 8, 0, W) && !may('b', 8, 0, R | W));
    }

    #[test]
    fn numbers_of_32_bits_are_compared_whole() {
        let may =
            may(json!([{"allow": true, "type": "c", "major": 4_294_967_295_u32, "minor": 0, "access": "r"}]));
        assert!(may('c', u32::MAX, 0, R) && !may('c', 0, 0, R) && !may('c', 0x7fff_ffff, 0, R));
    }
}
