# bash completion for hearth(1)
_hearth_models() {
	hearth list --json 2>/dev/null | tr ',{' '\n\n' | sed -n 's/^"name":"\([^"]*\)"$/\1/p'
}
_hearth() {
	local cur prev command i options
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD-1]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac
	done
	if [ -z "$command" ]; then
		COMPREPLY=($(compgen -W "serve run list show pull rm ps stop status doctor index search ask key privacy ledger pool config bench quantize tokenize perplexity embed extract render help --help --version" -- "$cur"))
		return
	fi
	case $prev in
	--home) COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--file | -f) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--model) COMPREPLY=($(compgen -f -W "$(_hearth_models)" -- "$cur")); return ;;
	--log-level) COMPREPLY=($(compgen -W "error warn info debug" -- "$cur")); return ;;
	esac
	case $command in
	serve) options= ;;
	run) options="--max-tokens --temp --seed --top-k --top-p --min-p --repeat-penalty --system --raw --own --verbose" ;;
	list | ps | status | doctor | config | rm) options="--json" ;;
	show) options="--metadata --remote --json" ;;
	pull) options="--name --quiet --internet --json" ;;
	key) options="--scope --per-minute --privacy --with-documents --json" ;;
	privacy) options="--limit --json" ;;
	ledger) options="--json" ;;
	pool) options="--listen --hub --fingerprint --expires --off --json" ;;
	stop) options="--now --json" ;;
	bench) options="--prompt-tokens --decode-tokens --context-tokens --streams --n-threads --json" ;;
	quantize) options="--list --json" ;;
	tokenize) options="--file --special --json" ;;
	perplexity) options="--limit --json" ;;
	embed) options="--file --json" ;;
	index) options="--wait --shared --json" ;;
	search) options="--k --folder --type --from --after --before --json" ;;
	ask) options="--with --k --folder --json" ;;
	extract) options="--ocr --languages --page --output --dpi --seconds --memory --json" ;;
	render) options="--case" ;;
	help) COMPREPLY=($(compgen -W "serve run list show pull rm ps stop status doctor index search ask key privacy ledger pool config bench quantize tokenize perplexity embed extract render" -- "$cur")); return ;;
	esac
	case $cur in
	-*)
		COMPREPLY=($(compgen -W "$options --help --home --listen --model --api-key --allowed-hosts --allowed-origins --threads --parallel --context --memory --spill --keep-alive --queue --load-timeout --max-body --max-connections --shutdown --embed-model --home-name --default-privacy --pool-lend --pool-lend-hours --pool-lend-tokens --fetch-hosts --fetch-max --fetch-timeout --registry --huggingface --ca-file --pool-share --pool-rate --pool-watts --log-level" -- "$cur"))
		return ;;
	esac
	case $command in
	index) if [ "$COMP_CWORD" -ge 3 ]; then COMPREPLY=($(compgen -d -- "$cur")); else COMPREPLY=($(compgen -W "add rm status" -- "$cur")); fi ;;
	key) COMPREPLY=($(compgen -W "add list rm" -- "$cur")) ;;
	ledger) COMPREPLY=($(compgen -W "verify" -- "$cur")) ;;
	pool) COMPREPLY=($(compgen -W "create invite join leave status trust distrust remove keeper unkeeper approve revoke hub" -- "$cur")) ;;
	privacy) COMPREPLY=($(compgen -W "log explain" -- "$cur")) ;;
	pull) COMPREPLY=($(compgen -f -- "$cur")) ;;
	run | show | rm | stop | bench | tokenize | perplexity | embed) COMPREPLY=($(compgen -f -W "$(_hearth_models)" -- "$cur")) ;;
	quantize)
		if [ "$COMP_CWORD" -ge 4 ]; then
			COMPREPLY=($(compgen -W "$(hearth quantize --list 2>/dev/null)" -- "$cur"))
		else
			COMPREPLY=($(compgen -f -W "$(_hearth_models)" -- "$cur"))
		fi ;;
	render) COMPREPLY=($(compgen -f -- "$cur")) ;;
	esac
}
complete -o filenames -F _hearth hearth
