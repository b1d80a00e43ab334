//! Templates on a document, by what Go's and docker's would print.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn document() -> Value {
    json!({
        "Id": "abc",
        "Name": "/web",
        "Args": ["-c", "exit 3"],
        "Empty": [],
        "RestartCount": 2,
        "Load": 1.5,
        "State": {"Status": "running", "ExitCode": 3, "Running": true, "Health": null},
        "Config": {"Labels": {"tier": "front", "com.example.x-y": "1"}, "Env": ["A=1", "B=<2>"]},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "10.0.0.2"}, "none": {"IPAddress": ""}}},
    })
}

fn try_on_document(template: &str) -> Result<String, String> {
    let parsed = Template::parse(template).map_err(|error| error.to_string())?;
    parsed.execute(Data::document(&document())).map_err(|error| error.to_string())
}

#[track_caller]
fn prints(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(try_on_document(template).as_deref(), Ok(*expected), "{template}");
    }
}

#[track_caller]
fn fails(cases: &[(&str, &str)]) {
    for (template, problem) in cases {
        let error = try_on_document(template).expect_err(template);
        assert!(error.contains(problem), "{template}: {error}");
    }
}

#[test]
fn fields_and_paths() {
    prints(&[
        ("plain", "plain"),
        ("", ""),
        ("{{.Id}} {{.Name}}", "abc /web"),
        ("{{.State.Status}}:{{.State.ExitCode}}", "running:3"),
        ("{{$.State.Running}}", "true"),
        ("{{(.State).Status}} {{(index .Args 1)}}", "running exit 3"),
        ("{{.Args}} {{.Config.Labels}}", "[-c exit 3] map[com.example.x-y:1 tier:front]"),
        ("{{.State.Health}}", "<nil>"),
        ("{{.Config.Labels.tier}} {{.Config.Labels.none}}", "front <no value>"),
        ("{{json .State.Health}} {{json .Args}}", r#"null ["-c","exit 3"]"#),
        (r#"{{json .Config.Env}}"#, r#"["A=1","B=<2>"]"#),
        ("{{.Load}} {{.RestartCount}}", "1.5 2"),
    ]);
}

#[test]
fn conditions() {
    prints(&[
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{if .Empty}}a{{else if eq .Id \"abc\"}}b{{else}}c{{end}}", "b"),
        ("{{if .Empty}}a{{else if .State.Health}}b{{else}}c{{end}}", "c"),
        ("{{with .State}}{{.Status}} {{$.Id}}{{end}}", "running abc"),
        ("{{with .State.Health}}x{{else}}y{{end}}", "y"),
        ("{{with .Empty}}x{{else with .Id}}{{.}}{{end}}", "abc"),
        ("{{with $x := .RestartCount}}{{$x}}{{.}}{{end}}", "22"),
        ("{{if and (eq 1 1) (lt 1 2)}}y{{else}}n{{end}}", "y"),
        ("{{if .Config.Labels}}some{{end}}{{if .State}}struct{{end}}", "somestruct"),
    ]);
}

#[test]
fn loops() {
    prints(&[
        ("{{range .Args}}<{{.}}>{{end}}", "<-c><exit 3>"),
        ("{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}}", "0=-c;1=exit 3;"),
        ("{{range $a := .Args}}{{$a}}{{.}};{{end}}", "-c-c;exit 3exit 3;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .State.Health}}x{{else}}none{{end}}", "none"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}", "com.example.x-y:1 tier:front "),
        ("{{range .NetworkSettings.Networks}}[{{.IPAddress}}]{{end}}", "[10.0.0.2][]"),
        (
            "{{range $n, $c := .NetworkSettings.Networks}}{{$n}} {{$c.IPAddress}},{{end}}",
            "bridge 10.0.0.2,none ,",
        ),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range split \"a,b,c\" \",\"}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
        ("{{range 9}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}", "01"),
        ("{{$last := 0}}{{range 4}}{{$last = .}}{{end}}{{$last}}", "3"),
        ("{{$x := 1}}{{range $x = .Empty}}{{end}}{{$x}}", "1"),
        ("{{$x := 1}}{{range $x = .Args}}{{end}}{{$x}}", "exit 3"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{range $i, $e := .Args}}{{if $i}}, {{end}}{{$e}}{{end}}", "-c, exit 3"),
    ]);
}

#[test]
fn text_and_trimming() {
    prints(&[
        ("a  {{- \"b\" -}}  c", "abc"),
        ("a {{/* nothing */}}b", "a b"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("{{\"a\\tb\"}}{{`raw\\t`}}", "a\tbraw\\t"),
        ("{{\"\\u00e9\\x41\\101\"}}", "éAA"),
        ("{{'a'}} {{0x1F}} {{1_000}} {{017}} {{0b11}} {{-5}}", "97 31 1000 15 3 -5"),
        ("{{1.50}} {{1e3}} {{1e21}} {{100000000.0}} {{.5}}", "1.5 1000 1e+21 1e+08 0.5"),
        ("{{ .Id }}\n{{.Id}}", "abc\nabc"),
        ("}} {", "}} {"),
        ("{{\n.Id\n}}", "abc"),
    ]);
}

#[test]
fn functions_of_docker() {
    prints(&[
        ("{{join .Args \"|\"}}", "-c|exit 3"),
        ("{{split \"a,b\" \",\"}}", "[a b]"),
        ("{{upper .Id}}{{lower \"X\"}}{{title \"it's a-b c_d\"}}", "ABCxIt'S A-B C_d"),
        ("{{pad .Id 2 1}}|{{pad \"\" 2 2}}|", "  abc ||"),
        ("{{truncate .Id 2}} {{truncate .Id 9}} {{truncate \"é\" 1}}|", "ab abc |"),
        ("{{.Name | printf \"%s-%s\" \"a\" | upper}}", "A-/WEB"),
        ("{{json .Name | len}}", "6"),
    ]);
}

#[test]
fn functions_of_go() {
    prints(&[
        ("{{print 1 2 \"a\" \"b\" 3}}|{{println 1 \"a\"}}", "1 2ab3|1 a\n"),
        ("{{len .Args}} {{len .Id}} {{len .Config.Labels}} {{len \"é\"}}", "2 3 2 2"),
        ("{{index .Config.Labels \"tier\"}}|{{index .Config.Labels \"none\"}}|", "front||"),
        ("{{index .Args 0}} {{index \"abc\" 1}} {{index .Config \"Env\" 0}}", "-c 98 A=1"),
        ("{{slice .Id 1}} {{slice .Id 1 2}} {{slice .Args 1}}", "bc b [exit 3]"),
        (
            "{{eq .Id \"x\" \"abc\"}} {{ne 1 2}} {{lt \"a\" \"b\"}} {{le 2 2}} {{gt 1 2}} {{ge 2 1}}",
            "true true true true false true",
        ),
        ("{{eq .State.Health nil}} {{eq .Config.Labels.none \"x\"}}", "true false"),
        ("{{and 1 0}} {{or 0 \"x\"}} {{not 1}} {{and .Id .Name}}", "0 x false /web"),
        ("{{or .Id (index .Args 99)}}", "abc"),
        ("{{html \"<a&\\\"'>\"}}", "&lt;a&amp;&#34;&#39;&gt;"),
        ("{{js \"it's <\\\"\\\\\\n\"}}", "it\\'s \\u003C\\\"\\\\\\u000A"),
        ("{{urlquery \"a b&c/é\"}}", "a+b%26c%2F%C3%A9"),
    ]);
}

#[test]
fn printf_as_go_has_it() {
    prints(&[
        (
            "{{printf \"%d|%s|%v|%q|%5.2f|%-5s|%05d|%x\" \"a\" 1 nil \"q\" 1.5 \"ab\" 12 \"hi\"}}",
            "%!d(string=a)|%!s(int=1)|<nil>|\"q\"| 1.50|ab   |00012|6869",
        ),
        (
            "{{printf \"%v %g %.3g %e %08.3f %+d %x %X %#x %#o %U %c\" 100000000.0 1e21 1234567.0 12345.678 3.14159 5 255 255 255 8 65 66}}",
            "1e+08 1e+21 1.23e+06 1.234568e+04 0003.142 +5 ff FF 0xff 010 U+0041 B",
        ),
        ("{{printf \"%[2]d %[1]d\" 1 2}} {{printf \"%*d|%-*d|\" 5 1 5 2}}", "2 1     1|2    |"),
        ("{{printf \"%.2s %5t %T\" \"héllo\" true 1.0}}", "hé  true float64"),
        (
            "{{printf \"%s\" nil}} {{printf \"%d\" 1 2}} {{printf \"%d\"}}",
            "%!s(<nil>) 1%!(EXTRA int=2) %!d(MISSING)",
        ),
        ("{{printf \"%\"}} {{printf \"%z\" 1}} {{printf \"%5%\"}}", "%!(NOVERB) %!z(int=1) %"),
        ("{{printf \"% x %03d %q %t\" \"hi\" -5 65 1}}", "68 69 -05 'A' %!t(int=1)"),
        ("{{printf \"%s %v\" .Args .Config.Labels}}", "[-c exit 3] map[com.example.x-y:1 tier:front]"),
        ("{{printf \"%d\" .RestartCount}}", "2"),
    ]);
}

#[test]
fn what_goes_wrong_is_said_in_gos_words() {
    fails(&[
        ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo"),
        ("a\n {{.State.Foo}}", "template: :2:9: executing \"\" at <.State.Foo>: can't evaluate field Foo"),
        ("{{.State.Health.Status}}", "nil pointer evaluating interface {}.Status"),
        ("{{.Id.Foo}}", "can't evaluate field Foo in type string"),
        ("{{", "template: :1: unclosed action"),
        ("{{.Id", "unclosed action"),
        ("{{if}}{{end}}", "missing value for if"),
        ("{{}}", "missing value for command"),
        ("{{.Id | }}", "missing value for command"),
        ("{{if true}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{\"a}}", "unterminated quoted string"),
        ("{{`a}}", "unterminated raw quoted string"),
        ("{{'ab'}}", "malformed character constant"),
        ("{{/* a }}", "unclosed comment"),
        ("{{/* a */ x}}", "comment ends before closing delimiter"),
        ("{{nope 1}}", "function \"nope\" not defined"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{if $x := 1}}{{end}}{{$x}}", "undefined variable \"$x\""),
        ("{{$a, $b := 1}}", "too many declarations in command"),
        ("{{(1}}", "unclosed left paren"),
        ("{{1)}}", "unexpected right paren"),
        ("{{.Foo!}}", "bad character U+0021 '!'"),
        ("{{1.F}}", "bad number syntax"),
        ("{{99999999999999999999}}", "bad number syntax"),
        ("{{1 | 2}}", "non executable command in pipeline stage 2"),
        ("{{nil}}", "nil is not a command"),
        ("{{define \"x\"}}{{end}}", "{{define}} is not supported"),
        ("{{\"a\" \"b\"}}", "can't give argument to non-function"),
        ("{{.Id \"b\"}}", "Id is not a method but has arguments"),
        ("{{eq 1 1.0}}", "incompatible types for comparison"),
        ("{{lt 1 \"a\"}}", "incompatible types for comparison"),
        ("{{index .Args 5}}", "index out of range: 5"),
        ("{{index .Args -1}}", "index out of range: -1"),
        ("{{slice .Id 2 1}}", "invalid slice index: 2 > 1"),
        ("{{len 3}}", "len of type int"),
        ("{{lower}}", "wrong number of args for lower: want 1 got 0"),
        ("{{lower 1}}", "wrong type for value; expected string; got int"),
        ("{{range .Id}}{{end}}", "range can't iterate over abc"),
        ("{{truncate .Id -1}}", "a size can't be -1"),
    ]);
}

#[test]
fn hostile_templates_end() {
    let deep =
        |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    let blocks = deep("{{if 1}}", "{{end}}", 4000);
    let parentheses = format!("{{{{{}}}}}", deep("(", ")", 20_000));
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(3000));
    for template in [&blocks, &parentheses, &chain] {
        let error = try_on_document(template).unwrap_err();
        assert!(error.contains("nested more than 64 deep"), "{error}");
    }
    fails(&[
        (&"x".repeat(MAX_LENGTH + 1), "longer than 65536 bytes"),
        ("{{range 1000000000000}}{{end}}", "steps"),
        ("{{range 99999}}{{range 99999}}{{end}}{{end}}", "steps"),
        ("{{pad \"x\" 9000000000000 0}}", "steps"),
        ("{{range 1000}}{{printf \"%1000000d\" 1}}{{end}}", "steps"),
        (&format!("{{{{printf {:?} 1}}}}", "%[1]1000000d".repeat(5000)), "steps"),
        ("{{printf \"%1000000s\" (split (pad \"a\" 30000 0) \"\")}}", "steps"),
        ("{{$x := pad \"a\" 1000000 0}}{{range 9999}}{{$x = print $x $x}}{{end}}", "steps"),
        ("{{$x := pad \"a\" 9000000 0}}{{range 99}}{{len (split $x \"\")}}{{end}}", "steps"),
    ]);
    prints(&[
        ("{{printf \"%1000001d|\" 1}}", "%!(BADWIDTH)1|"),
        ("{{printf \"%99999999999999999999d|\" 1}}", "%!(BADWIDTH)1|"),
        ("{{printf \"%.1000001f|\" 1.0}}", "%!(BADPREC)1|"),
        ("{{printf \"%*d|\" -9223372036854775808 1}}", "%!(BADWIDTH)1|"),
        ("{{printf \"%[99]d|\" 1}}", "%!d(MISSING)|"),
        ("{{len (printf \"%0900000d|%.900000d\" 1 1)}}", "1800001"),
        ("{{len (printf \"%.900000f|%.900000e|%.900000g\" 1.5 1.5 1.5)}}", "1800013"),
        ("{{len (printf \"%0900000.3f\" 1.5)}}", "900000"),
    ]);
}

#[test]
fn rows_say_which_fields_there_are_and_have_labels() {
    let row = json!({"ID": "1", "Names": "web"});
    let labels = BTreeMap::from([("tier".to_owned(), "front".to_owned())]);
    let run = |template: &str, headings: bool| {
        let data = Data { value: &row, labels: Some(&labels), json: None, headings };
        Template::parse(template).unwrap().execute(data).map_err(|error| error.to_string())
    };
    let wrong = run("{{.Foo}}", false).unwrap_err();
    assert!(wrong.ends_with("can't evaluate field Foo; the fields are ID, Names"), "{wrong}");
    assert_eq!(
        run("{{.Label \"tier\"}}|{{\"x\" | .Label}}|{{$.Label \"tier\"}}", false).unwrap(),
        "front||front"
    );
    assert!(run("{{.Label}}", false).is_err());
    assert_eq!(run("{{.Label \"com.example.my-tier\"}}", true).unwrap(), "my tier");
    assert_eq!(
        run("{{upper .Names}} {{json .ID}} {{truncate .Names 1}} {{pad .ID 1 1}}", true).unwrap(),
        "web 1 web  1 "
    );
}

#[test]
fn what_is_mentioned() {
    for (template, expected) in [
        ("{{.Size}}", true),
        ("{{range .X}}{{if lt (len .Size) 3}}{{end}}{{end}}", true),
        ("{{$.Size}}", true),
        ("{{json .}} Size {{\"Size\"}} {{.SizeRw}}", false),
    ] {
        assert_eq!(Template::parse(template).unwrap().mentions("Size"), expected, "{template}");
    }
}

#[test]
fn no_template_makes_it_panic() {
    let pieces = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        ".",
        ".Id",
        ".State",
        ".Args",
        "$",
        "$x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ",",
        "if",
        "else",
        "end",
        "range",
        "with",
        "break",
        "continue",
        "nil",
        "true",
        "1",
        "-7",
        "1.5",
        "1e9",
        "0x",
        "'a'",
        "\"s\"",
        "`r`",
        "\"",
        "printf",
        "\"%*d %[1]q %.3g %09.2f\"",
        "slice",
        "index",
        "len",
        "split",
        "join",
        "pad",
        "truncate",
        "title",
        "eq",
        "lt",
        "and",
        "or",
        "not",
        "json",
        "html",
        "js",
        "urlquery",
        "é",
        "\n",
        "/*",
        "*/",
        "{{end}}",
        "{{.Id}}",
        "{{range .Args}}",
        "{{if .Id}}",
        "{{$x := .Args}}",
    ];
    let mut seed = 7_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let (mut read, mut evaluated) = (0, 0);
    for _ in 0..40_000 {
        let template: String =
            (0..1 + next(9)).map(|_| pieces[next(pieces.len())]).collect::<Vec<_>>().join(["", " "][next(2)]);
        let template = if next(2) == 0 { template } else { format!("{{{{{template}}}}}") };
        if let Ok(parsed) = Template::parse(&template) {
            read += 1;
            evaluated += usize::from(parsed.execute(Data::document(&document())).is_ok());
        }
    }
    assert!(read > 1000 && evaluated > 500, "{read} {evaluated}");
}
