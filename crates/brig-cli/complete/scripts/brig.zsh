#compdef brig
# Completion of brig for zsh: `source <(brig completion zsh)` behind `compinit`, or as a file `_brig` in a directory of
# $fpath.

_brig() {
    local program=${commands[${words[1]}]:-${words[1]}}
    [[ -x $program ]] || program=brig
    local -a answer candidates others
    # With the part of the word before the cursor only.
    answer=("${(@f)$("$program" __complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")

    local line word meaning
    for line in "${(@)answer[2,-1]}"; do
        [[ -n $line ]] || continue
        word=${line%%$'\t'*}
        meaning=
        [[ $line == *$'\t'* ]] && meaning=${line#*$'\t'}
        candidates+=("${${word//\\/\\\\}//:/\\:}${meaning:+:$meaning}")
    done

    local told=" ${answer[1]#:} "
    [[ $told == *' nospace '* ]] && others=(-S '')
    local found=1
    if (( ${#candidates} )); then
        _describe -V brig candidates "${others[@]}" && found=0
    fi
    if [[ $told == *' files '* || $told == *' directories '* ]]; then
        [[ $PREFIX == -*=* ]] && compset -P '*='
        if [[ $told == *' directories '* ]]; then
            _files -/ "${others[@]}" && found=0
        else
            _files "${others[@]}" && found=0
        fi
    fi
    return found
}

if [[ ${funcstack[1]-} == _brig ]]; then
    _brig "$@"
else
    compdef _brig brig
fi
